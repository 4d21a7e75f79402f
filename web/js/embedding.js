// Speaks with the portal that shows the page in a frame: docs/embedding.md. Only with the origins that the service's setting names.

const VERSION = 1;
const COMMANDS = ['mute', 'leave', 'set-language'];
/** Why a participant is out of a call that goes on. */
const LEFT = ['left', 'removed', 'replaced', 'gave-up'];
/** Why the page could not go on, although the call may. Every other reason is an end. */
const FAILED = ['full', 'outdated', 'no-encryption', 'other-app'];
const ENDED = ['ended', 'too-late'];

/** Whether the setting names an origin: a CSP source list, in which this page's own has a name, and hosts may begin with `*.`. */
function isAllowed(origin) {
  if (!origin) return false;
  const sources = (document.documentElement.dataset.embedders ?? '').split(' ');
  return sources.some((source) => {
    if (source === "'self'") return origin === location.origin;
    const [start, end] = source.split('//*');
    return end ? origin.startsWith(`${start}//`) && origin.endsWith(end) && origin.length > source.length - 1 : origin === source;
  });
}

/** What a portal is told of the end of the participant's part. */
export function overMessage(reason) {
  // Of a service that refuses, the reason is the code of its error page.
  const short = reason.replace('error.', '');
  if (LEFT.includes(short)) return ['left', { reason: short }];
  const hasFailed = FAILED.includes(reason) || (reason !== short && !ENDED.includes(short));
  return hasFailed ? ['error', { code: short }] : ['ended', { reason: short }];
}

/** Events: those of `COMMANDS`, with the portal's message as `detail`. */
export class Embedding extends EventTarget {
  #portal = null;
  /** The latest message of each type, for a portal that listens from later on. */
  #told = new Map();

  constructor() {
    super();
    if (window.parent === window) return;
    // Not every browser has it; the portal's first message tells then.
    const [origin] = location.ancestorOrigins ?? [];
    if (isAllowed(origin)) this.#portal = origin;
    window.addEventListener('message', (event) => this.#receive(event));
  }

  tell(type, fields = {}) {
    // In the order in which they were told last.
    this.#told.delete(type);
    this.#told.set(type, fields);
    this.#send(type, fields);
  }

  /** The participant's part in the call is over. */
  tellOver(reason) {
    this.tell(...overMessage(reason));
  }

  #send(type, fields) {
    if (this.#portal) window.parent.postMessage({ videoSession: VERSION, type, ...fields }, this.#portal);
  }

  #receive({ data, origin, source }) {
    if (source !== window.parent || !isAllowed(origin) || data?.videoSession !== VERSION) return;
    this.#portal = origin;
    if (data.type === 'hello') for (const [type, fields] of this.#told) this.#send(type, fields);
    if (COMMANDS.includes(data.type)) this.dispatchEvent(new CustomEvent(data.type, { detail: data }));
  }
}
