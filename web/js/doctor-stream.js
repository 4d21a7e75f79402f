// The stream of the doctor's day. Reconnects by itself, and says when the list is not live any more.

/** A stream that is silent for so many of its keep-alives is lost. */
const SILENT_KEEPALIVES = 2.5;
/** A reconnect that takes no longer is not shown. */
const LOST_AFTER_MS = 3000;
const AGAIN_MS = 1000;
const AGAIN_MAX_MS = 30_000;
/** Pages that lost the same instance do not come back at the same moment. */
const JITTER_MS = 1000;
/** Between these hours, the list has the whole night, for doctors on night duty. */
const NIGHT_FROM_HOUR = 20;
const NIGHT_TO_HOUR = 4;

/** The day of this device, as the list has it: its bounds, and when they change. */
export function today(now = new Date()) {
  const at = (hour) => new Date(now).setHours(hour, 0, 0, 0);
  const isMorning = now < at(NIGHT_TO_HOUR);
  const isEvening = now >= at(NIGHT_FROM_HOUR);
  return {
    from: at(isMorning ? NIGHT_FROM_HOUR - 24 : 0),
    to: at(isEvening ? NIGHT_TO_HOUR + 24 : 24),
    changes: [NIGHT_TO_HOUR, NIGHT_FROM_HOUR, 24].map(at).find((time) => time > now),
  };
}

/** Fires `day` with each view of the day, `live` and `lost`, and `over` when the credential has expired. */
export class DayStream extends EventTarget {
  #source = null;
  #tries = 0;
  #isOver = false;
  #timers = {};
  /** When the list's bounds change. */
  #changes = 0;

  constructor({ events, page, keepaliveMs }) {
    super();
    Object.assign(this, { events, page, silenceMs: SILENT_KEEPALIVES * keepaliveMs });
    window.addEventListener('online', () => this.#isWaiting() && this.open());
    document.addEventListener('visibilitychange', () => !document.hidden && this.#isWaiting() && this.open());
  }

  open() {
    this.close();
    if (this.#isOver) return;
    const { from, to, changes } = today();
    this.#changes = changes;
    const source = new EventSource(`${this.events}&${new URLSearchParams({ from, to })}`);
    this.#source = source;
    source.addEventListener('day', ({ data }) => {
      this.#heard();
      this.#say('day', JSON.parse(data));
    });
    source.addEventListener('alive', () => this.#heard());
    source.addEventListener('over', () => this.end());
    source.addEventListener('error', () => {
      const wasRefused = source.readyState === EventSource.CLOSED;
      this.#again(wasRefused);
    });
    this.#after('silent', this.silenceMs, () => this.#again(false));
  }

  close() {
    this.#source?.close();
    this.#source = null;
    for (const name of ['silent', 'again']) clearTimeout(this.#timers[name]);
  }

  #isWaiting() {
    return !this.#isOver && !this.#source;
  }

  #heard() {
    // No timer would do: it stands still while the device sleeps.
    if (Date.now() >= this.#changes) return this.open();
    this.#tries = 0;
    clearTimeout(this.#timers.lost);
    this.#timers.lost = null;
    this.#after('silent', this.silenceMs, () => this.#again(false));
    return this.#say('live');
  }

  async #again(wasRefused) {
    this.close();
    this.#timers.lost ??= setTimeout(() => this.#say('lost'), LOST_AFTER_MS);
    const wait = Math.min(AGAIN_MAX_MS, AGAIN_MS * 2 ** this.#tries) + Math.random() * JITTER_MS;
    this.#tries += 1;
    this.#after('again', wait, () => this.open());
    // A stream does not say why it was refused; the page's own address does.
    if (wasRefused && (await hasExpired(this.page))) this.end();
  }

  /** The credential is of no use any more. */
  end() {
    if (this.#isOver) return;
    this.#isOver = true;
    this.close();
    clearTimeout(this.#timers.lost);
    this.#say('over');
  }

  #after(name, ms, then) {
    clearTimeout(this.#timers[name]);
    this.#timers[name] = setTimeout(then, ms);
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}

async function hasExpired(page) {
  try {
    const answer = await fetch(page, { method: 'HEAD', cache: 'no-store' });
    return answer.status === 401;
  } catch {
    return false;
  }
}
