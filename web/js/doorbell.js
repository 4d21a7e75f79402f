// Tells the host by the system's notification that somebody waits, while the page is not seen.

import { byId, el } from './dom.js';

/** One at a time, whoever waits. */
const TAG = 'video-session-waiting';

/** Whether this browser can, and the host was not asked yet. Phones' browsers have notifications only for installed apps. */
function canAsk() {
  if (!('Notification' in window) || Notification.permission !== 'default') return false;
  try {
    // Without permission, nothing is shown; on phones, this fails.
    new Notification('').close();
    return true;
  } catch {
    return false;
  }
}

export class Doorbell {
  #shown = null;
  #offer = null;

  constructor({ texts, session, signal }) {
    Object.assign(this, { texts, session });
    for (const event of ['knock', 'company']) session.addEventListener(event, () => this.#ring(), { signal });
    session.addEventListener('people', () => this.#render(), { signal });
    document.addEventListener('visibilitychange', () => !document.hidden && this.#silence(), { signal });
    signal.addEventListener('abort', () => this.#silence());
  }

  /** The button that asks for the permission is there while the host is alone, so that it covers nobody. */
  #render() {
    const { session } = this;
    if (session.queue.size === 0 && session.people.size === 0) this.#silence();
    const isWanted = session.may('host') && session.people.size === 0 && session.queue.size === 0;
    if (isWanted && this.#offer === null) this.#offer = canAsk() ? this.#makeOffer() : false;
    if (this.#offer) this.#offer.hidden = !isWanted;
  }

  #makeOffer() {
    const button = el('button', { type: 'button', className: 'small-button', testid: 'tell-me', on: { click: () => this.#askPermission() } }, this.texts.text('doorbell.ask'));
    const offer = el('p', { className: 'banner doorbell' }, el('span', {}, this.texts.text('doorbell.text')), button);
    byId('notices').append(offer);
    return offer;
  }

  async #askPermission() {
    const answer = await Notification.requestPermission().catch(() => 'denied');
    if (answer === 'default') return;
    const hadFocus = this.#offer.contains(document.activeElement);
    this.#offer.remove();
    this.#offer = false;
    // The button is gone: the focus must not be lost.
    if (hadFocus) byId('call-title').focus();
  }

  /** It may show on a locked screen, so it names nobody. */
  #ring() {
    if (!this.session.may('host') || (!document.hidden && document.hasFocus())) return;
    if (!('Notification' in window) || Notification.permission !== 'granted') return;
    try {
      this.#shown = new Notification(this.texts.text('doorbell.title'), { body: this.texts.text('doorbell.body'), tag: TAG });
    } catch {
      return;
    }
    this.#shown.onclick = () => {
      window.focus();
      this.#silence();
    };
  }

  #silence() {
    this.#shown?.close();
    this.#shown = null;
  }
}
