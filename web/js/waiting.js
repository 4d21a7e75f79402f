// The second screen: why the participant waits.

import { attach, byId } from './dom.js';
import { announce } from './a11y.js';

export class Waiting {
  constructor({ texts, media, onLeave }) {
    Object.assign(this, { texts, media });
    byId('waiting-leave').addEventListener('click', onLeave);
    media.addEventListener('change', () => this.#picture());
    this.#picture();
  }

  /** `null` until connected. */
  render(reason, { lost, fault }) {
    const known = reason && this.texts.has(`waiting.${reason}.title`) ? reason : reason ? 'host-absent' : 'connecting';
    const title = this.texts.text(`waiting.${known}.title`);
    byId('waiting-lost').hidden = !lost;
    byId('waiting-lost').textContent = this.texts.text(fault ? 'call.lost.fault' : 'call.lost');
    if (byId('waiting-title').textContent === title) return;
    byId('waiting-title').textContent = title;
    byId('waiting-text').textContent = this.texts.text(`waiting.${known}.text`);
    announce(`${title}. ${byId('waiting-text').textContent}`);
  }

  #picture() {
    const video = byId('waiting-preview');
    attach(video, this.media.video ? this.media.preview : null);
    video.classList.toggle('mirrored', this.media.facing === 'user');
    video.parentElement.hidden = !this.media.video;
  }
}
