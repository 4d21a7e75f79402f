// Cameras, microphones and loudspeakers in the call: choosing them, and telling of those that come and go.

import { byId, el, face } from './dom.js';
import { Level } from './level.js';
import { SpeakerTest } from './speaker-test.js';
import { list } from './devices.js';
import { note } from './notes.js';

const LISTS = { video: 'ready.camera', audio: 'ready.microphone', speaker: 'ready.speaker' };

export class DeviceMenu {
  #dialog = null;
  #level = new Level();

  constructor({ texts, media, signal }) {
    Object.assign(this, { texts, media });
    const button = byId('devices-open');
    const show = () => face(button, 'devices', texts.text('devices.open'));
    show();
    texts.addEventListener('change', show, { signal });
    button.addEventListener('click', () => this.#open(), { signal });
    for (const event of ['devices', 'change', 'speaker']) media.addEventListener(event, () => this.#render(), { signal });
    media.addEventListener('switched', ({ detail: { device, label, cause } }) => note(texts.text(`switched.${device}.${cause}`, { name: label })), { signal });
    media.addEventListener('interrupted', ({ detail: { device, on } }) => note(texts.text(`interrupted.${device}.${on ? 'on' : 'off'}`), { loud: on }), { signal });
    signal.addEventListener('abort', () => this.#dialog?.close());
  }

  #open() {
    const { texts, media } = this;
    const fields = Object.entries(LISTS).map(([kind, key]) => {
      const id = `menu-${kind}`;
      const select = el('select', { id, testid: id, on: { change: ({ target }) => media.choose(kind, target.value) } });
      return el('p', { className: 'field', id: `${id}-field`, hidden: true }, el('label', { htmlFor: id }, texts.text(key)), select);
    });
    const meter = el('div', { className: 'meter', id: 'menu-level', label: texts.text('ready.level') }, el('div', { className: 'meter-bar' }));
    for (const [name, value] of [['role', 'meter'], ['aria-valuemin', '0'], ['aria-valuemax', '100'], ['aria-valuenow', '0']]) meter.setAttribute(name, value);
    fields[1].append(meter);
    const speakerTest = new SpeakerTest({ texts, speaker: () => media.speaker });
    const close = el('button', { type: 'button', className: 'secondary', testid: 'menu-close', on: { click: () => this.#dialog.close() } }, texts.text('devices.close'));
    this.#dialog = el('dialog', { id: 'device-menu', testid: 'device-menu' }, el('h2', { id: 'device-menu-title', tabIndex: -1 }, texts.text('devices.title')), ...fields, speakerTest.element, close);
    this.#dialog.setAttribute('aria-labelledby', 'device-menu-title');
    this.#dialog.addEventListener('close', () => {
      this.#level.stop();
      speakerTest.stop();
      this.#dialog.remove();
      this.#dialog = null;
      // The “More” row may have closed; then its button is the way back.
      (byId('devices-open').offsetParent ? byId('devices-open') : byId('more')).focus();
    });
    document.body.append(this.#dialog);
    this.#dialog.showModal();
    byId('device-menu-title').focus();
    this.#render();
  }

  async #render() {
    if (!this.#dialog) return;
    const { media, texts } = this;
    const devices = await media.devices();
    if (!this.#dialog) return;
    for (const kind of Object.keys(LISTS)) {
      const current = kind === 'speaker' ? media.speaker : (media[kind]?.getSettings().deviceId ?? media.chosen[kind]);
      list(byId(`menu-${kind}`), devices[kind], current, texts);
      byId(`menu-${kind}-field`).hidden = devices[kind].length === 0 || (kind === 'speaker' && !('setSinkId' in HTMLMediaElement.prototype));
    }
    const meter = byId('menu-level');
    meter.hidden = !media.audio;
    this.#level.listen(media.audio, (level) => {
      const percent = media.muted ? 0 : Math.round(level * 20) * 5;
      meter.firstChild.style.transform = `scaleX(${percent / 100})`;
      meter.setAttribute('aria-valuenow', String(percent));
    });
  }
}
