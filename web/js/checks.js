// Tests before the call, for who wants them: the loudspeaker and the connection. Loaded after the first screen.

import { byId, el } from './dom.js';
import { SpeakerTest } from './speaker-test.js';
import { announce } from './a11y.js';

export class Checks {
  constructor({ texts, media, config, signal }) {
    Object.assign(this, { texts, config });
    const speakerTest = new SpeakerTest({ texts, speaker: () => media.speaker });
    this.start = el('button', { type: 'button', className: 'small-button', testid: 'connection-test', on: { click: () => this.#test() } }, texts.text('connection.test'));
    this.said = el('p', { testid: 'connection-said', role: 'status' });
    const box = el(
      'details',
      { id: 'checks', testid: 'checks' },
      el('summary', {}, texts.text('checks.open')),
      speakerTest.element,
      el('div', { className: 'check-row' }, this.start, this.said),
    );
    byId('devices').after(box);
    media.addEventListener('switched', ({ detail: { device, label, cause } }) => announce(texts.text(`switched.${device}.${cause}`, { name: label })), { signal });
    signal.addEventListener('abort', () => speakerTest.stop());
  }

  async #test() {
    if (this.start.getAttribute('aria-disabled') === 'true') return;
    this.start.setAttribute('aria-disabled', 'true');
    this.said.textContent = this.texts.text('connection.testing');
    const verdict = await import('./connection-test.js').then(({ testConnection }) => testConnection(this.config)).catch(() => 'offline');
    this.said.textContent = this.texts.text(`connection.${verdict}`);
    // The large button at the bottom would cover it on a phone.
    this.said.scrollIntoView({ block: 'nearest' });
    this.said.dataset.verdict = verdict;
    this.start.removeAttribute('aria-disabled');
  }
}
