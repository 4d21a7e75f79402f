// Measures the microphone's level ten times a second.

const EVERY_MS = 100;

export class Level {
  #context = null;
  #source = null;
  #track = null;
  #timer = 0;

  /** Calls back with 0 to 1 while there is a track. */
  listen(track, heard) {
    if (track === this.#track) return;
    this.#drop();
    this.#track = track;
    const Context = window.AudioContext ?? window.webkitAudioContext;
    if (!track || !Context) return heard(0);
    this.#context ??= new Context();
    // A context created before the first interaction may be suspended.
    const wake = () => this.#context?.resume();
    wake();
    for (const event of ['pointerdown', 'keydown']) document.addEventListener(event, wake, { once: true });
    const analyser = this.#context.createAnalyser();
    analyser.fftSize = 1024;
    this.#source = this.#context.createMediaStreamSource(new MediaStream([track]));
    this.#source.connect(analyser);
    const samples = new Uint8Array(analyser.fftSize);
    this.#timer = setInterval(() => {
      analyser.getByteTimeDomainData(samples);
      const power = samples.reduce((sum, sample) => sum + ((sample - 128) / 128) ** 2, 0) / samples.length;
      // Loudness is logarithmic: -60 dB maps to 0, 0 dB to 1.
      heard(power > 0 ? Math.min(1, Math.max(0, 1 + Math.log10(power) / 6)) : 0);
    }, EVERY_MS);
  }

  stop() {
    this.#drop();
    this.#track = null;
    this.#context?.close();
    this.#context = null;
  }

  #drop() {
    clearInterval(this.#timer);
    this.#source?.disconnect();
    this.#source = null;
  }
}
