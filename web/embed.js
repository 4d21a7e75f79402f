// For a portal that shows a consultation in a frame: what happens in it, and what the portal may ask of it. docs/embedding.md
// describes the messages; this file is their client, and may be copied.

const VERSION = 1;
const TYPES = ['ready', 'waiting', 'joined', 'participants', 'left', 'ended', 'error'];

/** Dispatches a CustomEvent for each message of the consultation; its `detail` is the message. */
export class VideoSession extends EventTarget {
  #frame;
  #origin;
  #closed = new AbortController();

  /** `origin`: of the service, if the frame's `src` is not set yet. */
  constructor(frame, { origin = new URL(frame.src).origin } = {}) {
    super();
    this.#frame = frame;
    this.#origin = origin;
    const { signal } = this.#closed;
    window.addEventListener('message', (event) => this.#receive(event), { signal });
    // Not every browser tells the page which page shows it.
    frame.addEventListener('load', () => this.#send('hello'), { signal });
    this.#send('hello');
  }

  /** Mutes the participant. Only they can unmute themselves. */
  mute() {
    this.#send('mute');
  }

  /** Leaves the consultation, without ending it for the others. */
  leave() {
    this.#send('leave');
  }

  /** Changes the page's language, such as `de`. An unknown one changes nothing: `error` with the code `unknown-language`. */
  setLanguage(language) {
    this.#send('set-language', { language });
  }

  /** Listens no more. The frame stays as it is. */
  close() {
    this.#closed.abort();
  }

  #send(type, fields = {}) {
    // Before the frame has loaded the service's page, the browser drops the message, and says so on its console.
    this.#frame.contentWindow?.postMessage({ videoSession: VERSION, type, ...fields }, this.#origin);
  }

  #receive({ data, origin, source }) {
    if (source !== this.#frame.contentWindow || origin !== this.#origin) return;
    if (data?.videoSession !== VERSION || !TYPES.includes(data.type)) return;
    this.dispatchEvent(new CustomEvent(data.type, { detail: data }));
  }
}
