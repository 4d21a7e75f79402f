// Keeps the participant at the page, and calls them back to it: a phone's screen that stays on, a sound, a mark in the title.

const MARK = '● ';
/** The sound: two short notes, rising. */
const NOTES_HZ = [659, 880];
const NOTE_S = 0.18;
const LOUDNESS = 0.15;

export class Attention {
  #held = false;
  #lock = null;
  #audio = null;
  #seen = () => {
    if (document.hidden) return;
    document.title = document.title.replace(MARK, '');
    if (this.#held) this.#stayAwake();
  };

  constructor() {
    document.addEventListener('visibilitychange', this.#seen);
  }

  /** Browsers let a page sound only after a tap on it: call this in its handler. */
  prepare() {
    try {
      this.#audio ??= new AudioContext();
      this.#audio.resume().catch(() => {});
    } catch {
      // No sound output: the mark in the title remains.
    }
  }

  /** Keeps a phone's screen on, from now on. */
  hold() {
    this.#held = true;
    return this.#stayAwake();
  }

  /** The call is over: lets the screen go off, and is silent. */
  release() {
    this.#held = false;
    document.removeEventListener('visibilitychange', this.#seen);
    this.#lock?.release().catch(() => {});
    this.#audio?.close().catch(() => {});
  }

  /** Somebody is there for whom the participant waited, or who waits for them. */
  call() {
    this.#ring();
    if (document.hidden && !document.title.startsWith(MARK)) document.title = MARK + document.title;
  }

  #ring() {
    const audio = this.#audio;
    if (audio?.state !== 'running') return;
    NOTES_HZ.forEach((frequency, index) => {
      const from = audio.currentTime + index * NOTE_S;
      const volume = new GainNode(audio, { gain: 0 });
      volume.gain.setValueAtTime(LOUDNESS, from);
      volume.gain.exponentialRampToValueAtTime(0.001, from + 2 * NOTE_S);
      const note = new OscillatorNode(audio, { frequency });
      note.connect(volume).connect(audio.destination);
      note.start(from);
      note.stop(from + 2 * NOTE_S);
    });
  }

  async #stayAwake() {
    try {
      if (!this.#lock || this.#lock.released) this.#lock = await navigator.wakeLock?.request('screen');
      if (!this.#held) await this.#lock?.release();
    } catch {
      // Low battery, or an unsupported browser: continue without it.
    }
  }
}
