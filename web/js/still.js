// A still of a picture, where the clinic allows it. The participant is told first: without that, there is no still.

import { byId, el } from './dom.js';
import { announce } from './a11y.js';
import { note } from './notes.js';

const TOLD_WITHIN_MS = 5000;
const TYPE = 'image/png';
/** How many stills may wait to be saved: each is kept in the page's memory. */
const OFFERS_MAX = 4;

/** A name that says when, and nothing about whom: files outlive consultations. */
export function fileName(date) {
  const two = (number) => String(number).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('-');
  return `still-${day}-${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join('')}.png`;
}

/** All of the picture, in the size in which it arrives, whatever part of it is shown. */
async function capture(video) {
  const canvas = Object.assign(document.createElement('canvas'), { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext('2d').drawImage(video, 0, 0);
  return new Promise((resolve, reject) => canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error('no picture'))), TYPE));
}

export class Still {
  /** By their elements: the addresses of the stills that are offered. */
  #offers = new Map();
  #unsaved = new Set();
  #isBusy = false;
  #away = new AbortController();

  constructor({ texts, session }) {
    Object.assign(this, { texts, session });
    session.addEventListener('message', ({ detail }) => detail.type === 'still' && this.#wasTaken(detail.sender_id), { signal: this.#away.signal });
    // The browser asks before it closes or leaves the page. Not cut off by `close`: the last screen has the stills, too.
    window.addEventListener('beforeunload', (event) => {
      if (this.#unsaved.size === 0) return;
      event.preventDefault();
      // What Chrome asked for before version 119.
      event.returnValue = 'unsaved';
    });
  }

  get isAllowed() {
    return document.documentElement.dataset.stills === 'true' && this.session.may('host');
  }

  async take({ video, person }) {
    if (this.#isBusy || !this.isAllowed) return;
    const saved = [...this.#offers.keys()].filter((offer) => !this.#unsaved.has(offer));
    for (const offer of saved) this.#discard(offer);
    if (this.#offers.size >= OFFERS_MAX) {
      const [first] = this.#offers.keys();
      first.querySelector('a').focus();
      return announce(this.texts.text('still.ready'));
    }
    this.#isBusy = true;
    try {
      if (!(await this.#tell(person.userId))) return;
      this.#show(await capture(video));
    } catch {
      note(this.texts.text('still.failed'), { loud: true });
    } finally {
      this.#isBusy = false;
    }
  }

  close() {
    this.#away.abort();
    for (const offer of this.#offers.keys()) {
      if (this.#unsaved.has(offer)) byId('end-stills').append(offer);
      else this.#discard(offer);
    }
  }

  #discard(offer) {
    offer.remove();
    URL.revokeObjectURL(this.#offers.get(offer));
    this.#offers.delete(offer);
    this.#unsaved.delete(offer);
  }

  /** Another participant took a still of our picture. */
  #wasTaken(userId) {
    const person = this.session.people.get(userId);
    if (person) note(this.texts.text('still.taken', { name: this.texts.who(person) }), { loud: true });
  }

  /** Asks the service to tell the participant. True once it has accepted that. */
  #tell(userId) {
    const { session } = this;
    return new Promise((resolve) => {
      const away = new AbortController();
      const done = (isTold) => {
        clearTimeout(timer);
        away.abort();
        resolve(isTold);
      };
      const timer = setTimeout(() => {
        note(this.texts.text('still.failed'), { loud: true });
        done(false);
      }, TOLD_WITHIN_MS);
      session.addEventListener('message', ({ detail }) => {
        if (detail.type === 'still-told' && detail.user_id === userId) done(true);
        // The session says that it was refused.
        if (detail.type === 'error') done(false);
      }, { signal: away.signal });
      if (!session.command('still', { target_id: userId })) done(false);
    });
  }

  #show(blob) {
    const url = URL.createObjectURL(blob);
    const { texts } = this;
    const save = el('a', { className: 'small-button', testid: 'still-save', href: url, download: fileName(new Date()), on: { click: () => this.#unsaved.delete(offer) } }, texts.text('still.save'));
    const discard = el('button', { type: 'button', className: 'small-button', testid: 'still-discard', on: { click: () => this.#discard(offer) } }, texts.text('still.discard'));
    const offer = el('p', { className: 'banner', testid: 'still' }, el('span', {}, texts.text('still.ready')), el('span', { className: 'actions' }, save, discard));
    this.#offers.set(offer, url);
    this.#unsaved.add(offer);
    // The call may have ended meanwhile.
    byId(this.#away.signal.aborted ? 'end-stills' : 'notices').append(offer);
    announce(texts.text('still.ready'));
  }
}
