// The second screen: why the participant waits.

import { attach, byId } from './dom.js';
import { alert, announce } from './a11y.js';
import { explain, showSwitches, switchCamera, switchMicrophone } from './switches.js';

export class Waiting {
  #shown = [null, {}];

  constructor({ texts, media, publishes, onLeave }) {
    Object.assign(this, { texts, media, publishes });
    byId('waiting-leave').addEventListener('click', onLeave);
    media.addEventListener('change', () => this.#picture());
    byId('waiting-mute').addEventListener('click', async () => (await switchMicrophone(media)) || this.#explain('audio'));
    byId('waiting-camera').addEventListener('click', async () => (await switchCamera(media)) || this.#explain('video'));
    this.#picture();
    texts.addEventListener('change', () => {
      this.render(...this.#shown);
      this.#picture();
    });
  }

  /** What does not work is said on the screen, too: there are no notes here. */
  #explain(kind) {
    const tell = (text) => {
      byId('waiting-trouble').textContent = text;
      alert(text);
    };
    return explain({ texts: this.texts, media: this.media, kind, tell });
  }

  /** `null` until connected. */
  render(reason, { lost, fault }) {
    this.#shown = [reason, { lost, fault }];
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
    byId('waiting-trouble').textContent = '';
    byId('waiting-switches').hidden = !this.publishes;
    showSwitches({ texts: this.texts, media: this.media, mute: byId('waiting-mute'), camera: byId('waiting-camera') });
  }
}
