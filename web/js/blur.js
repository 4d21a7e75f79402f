// A blurred background, only where the camera or the system offers it: the page ships no model.

import { byId, face } from './dom.js';
import { note } from './notes.js';

/** Whether a camera's background can be blurred, and shown, as wanted. */
export const canBlur = (track) => {
  const offered = track?.getCapabilities?.().backgroundBlur;
  return Array.isArray(offered) && offered.includes(true) && offered.includes(false);
};

export class Blur {
  #wanted = false;
  #track = null;
  #away = new AbortController();

  constructor({ texts, media }) {
    Object.assign(this, { texts, media });
    const { signal } = this.#away;
    media.addEventListener('change', () => this.#changed(), { signal });
    byId('blur').addEventListener('click', () => this.#set(!this.#wanted), { signal });
    this.#changed();
  }

  close() {
    this.#away.abort();
  }

  /** Another camera knows nothing of what was wanted of the one before. */
  #changed() {
    const track = this.media.video;
    if (track !== this.#track && this.#wanted && canBlur(track)) this.#apply(track);
    this.#track = track;
    this.#render();
  }

  #set(wanted) {
    this.#wanted = wanted;
    this.#apply(this.media.video);
    this.#render();
  }

  #apply(track) {
    track?.applyConstraints({ ...track.getConstraints(), backgroundBlur: { exact: this.#wanted } }).catch(() => {
      this.#wanted = false;
      note(this.texts.text('call.refused'), { loud: true });
      this.#render();
    });
  }

  #render() {
    byId('blur').hidden = !canBlur(this.media.video);
    byId('blur').classList.toggle('off', this.#wanted);
    face(byId('blur'), 'blur', this.texts.text(this.#wanted ? 'blur.off' : 'blur.on'));
  }
}
