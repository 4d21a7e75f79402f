// What two pages tell each other of their own connections to the service (docs/signalling.md, `network`), to know whose is weak
// without guessing.

/** So often a page is asked while something is wrong. */
const ASK_MS = 2000;
/** A page that has not answered by then is cut off from the service, if we are not. */
const SILENT_MS = 2000;
/** So seldom we answer. */
const ANSWER_MS = 1000;
/** An answer is worth this long. */
const FRESH_MS = 5000;

/** By user id: what is known of the others. `own` returns whether ours is `good`, `weak` or `lost`. */
export class Lines {
  #known = new Map();
  #send;
  #own;

  constructor({ send, own }) {
    this.#send = send;
    this.#own = own;
  }

  /** Shows somebody that this page answers. */
  greet(userId) {
    this.#tell(userId, false);
  }

  /** Our own connection is a new one: what was asked over the former one may never have arrived. */
  renew() {
    for (const line of this.#known.values()) Object.assign(line, { askedAt: 0, repeatedAt: 0 });
  }

  forget(userId) {
    this.#known.delete(userId);
  }

  handle({ sender_id: userId, data }, now = Date.now()) {
    if (typeof data !== 'object' || data === null) return;
    const line = this.#line(userId);
    Object.assign(line, { heardAt: now, weak: data.weak === true });
    if (data.asks !== true || now - line.answeredAt < ANSWER_MS) return;
    line.answeredAt = now;
    this.#tell(userId, false);
  }

  /** Asks somebody, if it is time. */
  ask(userId, now = Date.now()) {
    const line = this.#line(userId);
    // A question that waits for its answer stands.
    const isOpen = line.askedAt > line.heardAt;
    if (isOpen ? now - line.repeatedAt < ASK_MS : now - line.askedAt < ASK_MS) return;
    if (!this.#tell(userId, true)) return;
    line.repeatedAt = now;
    if (!isOpen) line.askedAt = now;
  }

  /** What somebody's page says: `good`, `weak`, `silent`, or `unknown`. `confirmedAt`: when the service last answered us. */
  of(userId, { now = Date.now(), confirmedAt }) {
    const { heardAt, askedAt, weak } = this.#line(userId);
    // Pages of an older version do not answer.
    if (!heardAt) return 'unknown';
    if (askedAt > heardAt) return now - askedAt > SILENT_MS && confirmedAt > askedAt ? 'silent' : 'unknown';
    if (now - heardAt > FRESH_MS) return 'unknown';
    return weak ? 'weak' : 'good';
  }

  #line(userId) {
    if (!this.#known.has(userId)) this.#known.set(userId, { heardAt: 0, askedAt: 0, repeatedAt: 0, answeredAt: 0, weak: false });
    return this.#known.get(userId);
  }

  #tell(userId, asks) {
    return this.#send('network', { target_id: userId, data: { weak: this.#own() !== 'good', asks } });
  }
}
