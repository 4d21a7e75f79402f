// The other's picture in a small window over everything else, while the participant looks something up: where the browser can.

import { byId, face } from './dom.js';
import { note } from './notes.js';

/** The one to show: the large picture, or else the first whose camera is on. */
const other = () => {
  const videos = [...document.querySelectorAll('#tiles video')].filter((video) => video.readyState > 0 && !video.classList.contains('dark'));
  return videos.find((video) => video.closest('.large')) ?? videos[0] ?? null;
};

export class SmallWindow {
  #away = new AbortController();

  constructor({ texts, session }) {
    Object.assign(this, { texts });
    if (!document.pictureInPictureEnabled) return;
    const { signal } = this.#away;
    byId('small-window').hidden = false;
    byId('small-window').addEventListener('click', () => this.#toggle(), { signal });
    for (const event of ['enterpictureinpicture', 'leavepictureinpicture']) document.addEventListener(event, () => this.#render(), { signal, capture: true });
    // When the tab is left: Chrome asks for it, Safari does it.
    this.#offer(() => this.#open());
    session.addEventListener('people', () => this.#mark(), { signal });
    this.texts.addEventListener('change', () => this.#render(), { signal });
    this.#render();
  }

  close() {
    this.#away.abort();
    this.#offer(null);
    if (document.pictureInPictureElement) document.exitPictureInPicture().catch(() => {});
  }

  #offer(open) {
    try {
      navigator.mediaSession?.setActionHandler('enterpictureinpicture', open);
    } catch {
      // This browser does not open it by itself; the button remains.
    }
  }

  #mark() {
    for (const video of document.querySelectorAll('#tiles video')) if ('autoPictureInPicture' in video) video.autoPictureInPicture = video === other();
  }

  async #open() {
    const video = other();
    if (!video) return note(this.texts.text('small.nobody'));
    return video.requestPictureInPicture().catch(() => note(this.texts.text('call.refused'), { loud: true }));
  }

  #toggle() {
    if (document.pictureInPictureElement) document.exitPictureInPicture().catch(() => {});
    else this.#open();
  }

  #render() {
    face(byId('small-window'), 'small', this.texts.text(document.pictureInPictureElement ? 'small.close' : 'small.open'));
  }
}
