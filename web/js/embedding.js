// Speaks with the portal that shows the page in a frame: docs/embedding.md. Only with the origins that the service's setting names.

const VERSION = 1;
const COMMANDS = ['mute', 'leave', 'set-language'];
/** Why a participant is out of a call that goes on. Every other reason is an end. */
const LEFT = ['left', 'removed', 'replaced', 'gave-up'];

/** The configured origins: a CSP source list, in which this page's own has a name. */
function origins() {
  const sources = (document.documentElement.dataset.embedders ?? '').split(' ');
  return sources.map((source) => (source === "'self'" ? location.origin : source)).filter((source) => source.startsWith('http'));
}

/** Events: those of `COMMANDS`, with the portal's message as `detail`. */
export class Embedding extends EventTarget {
  #allowed = origins();
  #portal = null;
  /** The latest message of each type, until the portal is known. */
  #untold = new Map();

  constructor() {
    super();
    if (window.parent === window || this.#allowed.length === 0) return;
    // Not every browser has it; the portal's first message tells then.
    const [origin] = location.ancestorOrigins ?? [];
    if (this.#allowed.includes(origin)) this.#portal = origin;
    window.addEventListener('message', (event) => this.#receive(event));
  }

  tell(type, fields = {}) {
    if (this.#portal) window.parent.postMessage({ videoSession: VERSION, type, ...fields }, this.#portal);
    else if (window.parent !== window) this.#untold.set(type, fields);
  }

  /** The participant's part in the call is over. */
  tellOver(reason) {
    this.tell(LEFT.includes(reason) ? 'left' : 'ended', { reason });
  }

  #receive({ data, origin, source }) {
    if (source !== window.parent || !this.#allowed.includes(origin) || data?.videoSession !== VERSION) return;
    this.#portal = origin;
    for (const [type, fields] of this.#untold) this.tell(type, fields);
    this.#untold.clear();
    if (COMMANDS.includes(data.type)) this.dispatchEvent(new CustomEvent(data.type, { detail: data }));
  }
}
