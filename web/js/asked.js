// The host asks this participant to unmute. Only the participant's own tap does it.

import { byId, el } from './dom.js';
import { explain } from './switches.js';

/** After “Not now”, further requests are not shown for so long. */
const PAUSE_MS = 15_000;

export class Asked {
  #declinedAt = -Infinity;

  constructor({ texts, media, session, tell, signal }) {
    Object.assign(this, { texts, media, session, tell });
    session.addEventListener('asked', ({ detail: userId }) => this.#ask(userId), { signal });
    media.addEventListener('change', () => this.#close(), { signal });
    signal.addEventListener('abort', () => byId('asked-dialog')?.close());
  }

  get #isHeard() {
    return this.media.audio !== null && !this.media.muted;
  }

  /** They unmuted in another way. */
  #close() {
    if (this.#isHeard) byId('asked-dialog')?.close();
  }

  #ask(userId) {
    const { session, texts } = this;
    const person = session.people.get(userId);
    if (!person || !session.self?.publishes || this.#isHeard || byId('asked-dialog') || performance.now() - this.#declinedAt < PAUSE_MS) return;
    const button = (className, testid, key, click) => el('button', { type: 'button', className, testid, on: { click } }, texts.text(key));
    const dialog = el(
      'dialog',
      { id: 'asked-dialog', testid: 'asked-dialog', on: { close: () => dialog.remove() } },
      el('h2', { id: 'asked-title', tabIndex: -1 }, texts.text('asked.title', { name: texts.who(person) })),
      el('p', {}, texts.text('asked.text')),
      button('primary', 'asked-unmute', 'asked.unmute', () => this.#unmute(dialog)),
      button('secondary', 'asked-later', 'asked.later', () => dialog.close()),
    );
    dialog.setAttribute('aria-labelledby', 'asked-title');
    dialog.addEventListener('close', () => {
      if (!this.#isHeard) this.#declinedAt = performance.now();
    });
    document.body.append(dialog);
    dialog.showModal();
    byId('asked-title').focus();
  }

  async #unmute(dialog) {
    const { media, texts, tell } = this;
    media.setMuted(false);
    if (!media.audio) await media.acquire();
    dialog.close();
    if (!media.audio) await explain({ texts, media, kind: 'audio', tell });
  }
}
