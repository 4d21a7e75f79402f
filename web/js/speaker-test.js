// A short sound, and whether it was heard.

import { el } from './dom.js';

const NOTES_HZ = [523, 659, 784];
const NOTE_S = 0.3;
const LOUDNESS = 0.3;
const SOUND_MS = (NOTES_HZ.length + 1) * NOTE_S * 1000;

/** Plays three notes by the given speaker; the default one, if empty. */
async function play(context, speaker) {
  const output = context.createMediaStreamDestination();
  const element = Object.assign(new Audio(), { srcObject: output.stream });
  if (speaker) await element.setSinkId?.(speaker).catch(() => {});
  await element.play();
  NOTES_HZ.forEach((frequency, index) => {
    const from = context.currentTime + index * NOTE_S;
    const volume = new GainNode(context, { gain: 0 });
    volume.gain.setValueAtTime(LOUDNESS, from);
    volume.gain.exponentialRampToValueAtTime(0.001, from + 2 * NOTE_S);
    const note = new OscillatorNode(context, { frequency });
    note.connect(volume).connect(output);
    note.start(from);
    note.stop(from + 2 * NOTE_S);
  });
}

export class SpeakerTest {
  #context = null;
  #timer = 0;

  /** `speaker` returns the id of the speaker to play by. */
  constructor({ texts, speaker }) {
    Object.assign(this, { texts, speaker });
    const button = (testid, key, click) => el('button', { type: 'button', className: 'small-button', testid, on: { click } }, texts.text(key));
    this.start = button('speaker-test', 'speaker.play', () => this.#play());
    this.said = el('p', { testid: 'speaker-said', role: 'status' });
    this.answers = el('p', { className: 'actions', hidden: true }, button('speaker-yes', 'speaker.yes', () => this.#answer('speaker.good')), button('speaker-no', 'speaker.no', () => this.#answer('speaker.bad')));
    this.element = el('div', { className: 'check-row' }, this.start, this.said, this.answers);
  }

  stop() {
    clearTimeout(this.#timer);
    this.#context?.close();
    this.#context = null;
  }

  async #play() {
    this.stop();
    this.answers.hidden = true;
    this.said.textContent = this.texts.text('speaker.playing');
    try {
      this.#context = new AudioContext();
      await this.#context.resume();
      await play(this.#context, this.speaker());
    } catch {
      this.stop();
      this.said.textContent = this.texts.text('speaker.failed');
      return;
    }
    this.#timer = setTimeout(() => {
      this.said.textContent = this.texts.text('speaker.ask');
      this.answers.hidden = false;
    }, SOUND_MS);
  }

  #answer(key) {
    this.answers.hidden = true;
    this.said.textContent = this.texts.text(key);
    this.start.focus();
    this.stop();
  }
}
