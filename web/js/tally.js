// How many seconds of the call were how good: the data of a `quality` message.

/** A device that slept does not know how the connection was meanwhile. */
const LONGEST_MS = 5000;

const ORDER = ['good', 'weak', 'bad'];

/** The worst of what the others' connections are, as `{level, reason}`; `null` if there is nobody. */
export function worst(people) {
  const rated = people.map(({ kind, quality }) => {
    if (kind === 'stuck' || kind === 'interrupted') return { level: 'bad', reason: 'disconnected' };
    if (kind === 'frozen') return { level: 'bad', reason: 'frozen' };
    return quality ?? null;
  });
  return rated.filter(Boolean).reduce((one, other) => (one && ORDER.indexOf(one.level) >= ORDER.indexOf(other.level) ? one : other), null);
}

export class Tally {
  #ms = {};
  #at = 0;

  /** Counts the time since the last call as that good; `null`: it does not count. */
  add(rating, now) {
    const passed = Math.min(LONGEST_MS, Math.max(0, now - (this.#at || now)));
    this.#at = now;
    if (!rating) return;
    const key = rating.level === 'good' ? 'good' : `${rating.level}.${rating.reason}`;
    this.#ms[key] = (this.#ms[key] ?? 0) + passed;
  }

  /** In whole seconds. */
  get data() {
    const data = { good: 0 };
    for (const [key, ms] of Object.entries(this.#ms)) {
      const [level, reason] = key.split('.');
      const secs = Math.floor(ms / 1000);
      if (!reason) data.good = secs;
      else if (secs) data[level] = { ...data[level], [reason]: secs };
    }
    return data;
  }

  /** For a page that is reloaded. */
  save() {
    return { ...this.#ms };
  }

  restore(saved) {
    this.#ms = { ...saved };
  }
}
