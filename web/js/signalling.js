// The WebSocket to the service (docs/signalling.md): one object that reconnects until the service says that it is over.

import { fetchWithin } from './dom.js';

const FIRST_MS = 500;
const LAST_MS = 8000;
const GIVE_UP_MS = 120_000;
// Browsers report a dead connection very late, so the page pings the service after some silence. A pong that takes longer
// than DOUBT_MS is shown as a loss. The page replaces the connection only later, because phones' networks often stall for
// some seconds.
const SILENCE_MS = 2500;
const DOUBT_MS = 3000;
const ANSWER_MS = 6000;
const HURRIED_ANSWER_MS = 3000;
/** How long it may take to ask why the service refused the socket. */
const REASON_MS = 5000;
const OPEN_MS = 10_000;
const FAULT_PAUSE_MS = 5000;

/** The close codes after which the page does not reconnect, and why. */
const FINAL = new Map([
  [1000, 'left'],
  [4001, 'error.expired'],
  [4003, 'removed'],
  [4004, 'ended'],
  [4005, 'replaced'],
  [4010, 'full'],
]);
/** The close codes after which to wait before the first attempt. */
const PAUSE = new Map([
  [4008, 5000],
  [1011, FAULT_PAUSE_MS],
  [4013, 2000],
]);
/** The close code and the HTTP status for a fault of the service. */
const FAULT_CODE = 1011;
const FAULT_STATUS = 500;
/** Browsers hide why a handshake was refused; requesting the page's own address gives the same answer. */
const REFUSED = new Map([
  [401, 'error.expired'],
  [403, 'error.removed'],
  [404, 'error.unknown-session'],
  [410, 'error.ended'],
  [425, 'error.too-early'],
]);

/** The wait before an attempt, counted from 0: doubles each time, with jitter of half of it. */
function backoff(attempt) {
  const whole = Math.min(LAST_MS, FIRST_MS * 2 ** attempt);
  return whole / 2 + (whole / 2) * Math.random();
}

/**
 * Events: `message` with what the server said; `lost` with `{fault}`: whether by a fault of the service's; `back` when it was
 * not lost after all; `over` with why.
 */
export class Signalling extends EventTarget {
  #url;
  #page;
  #socket = null;
  #opened = 0;
  #attempt = 0;
  #lostAt = 0;
  #timer = 0;
  #heart = 0;
  #probing = false;
  #doubted = 0;
  #isDoubted = false;
  #fault = false;
  #over = false;
  #away = new AbortController();
  /** When the service was last heard. */
  confirmedAt = 0;
  #pingedAt = 0;
  #roundTripMs = 0;

  constructor({ socket, page }) {
    super();
    this.#url = socket;
    this.#page = page;
    const { signal } = this.#away;
    window.addEventListener('offline', () => this.check(), { signal });
    window.addEventListener('online', () => this.#hurry(), { signal });
    document.addEventListener('visibilitychange', () => !document.hidden && this.#hurry(), { signal });
  }

  get connected() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  open() {
    if (this.#over) return;
    clearTimeout(this.#timer);
    this.#socket?.close();
    const socket = new WebSocket(this.#url);
    this.#socket = socket;
    this.#opened += 1;
    this.#pingedAt = 0;
    this.#roundTripMs = 0;
    let opened = false;
    const current = (handler) => (event) => socket === this.#socket && !this.#over && handler(event);
    // On a dead network, a handshake can hang for minutes.
    this.#timer = setTimeout(current(() => this.#lost()), OPEN_MS);
    socket.addEventListener('open', current(() => {
      opened = true;
      clearTimeout(this.#timer);
      this.#confirmAlive();
    }));
    socket.addEventListener('message', current(({ data }) => this.#handleData(data)));
    socket.addEventListener('close', current(({ code }) => {
      if (FINAL.has(code)) return this.#end(FINAL.get(code));
      if (opened) this.#fault = code === FAULT_CODE;
      this.#lost({ pause: PAUSE.get(code) ?? 0, refused: !opened });
    }));
  }

  /** Returns false without a connection; messages are not queued. */
  send(type, fields = {}) {
    if (!this.connected) return false;
    this.#socket.send(JSON.stringify({ type, ...fields }));
    return true;
  }

  /** How long the service takes to answer, or has not answered. */
  get waitMs() {
    return Math.max(this.#roundTripMs, this.#pingedAt ? Date.now() - this.#pingedAt : 0);
  }

  /** Asks the service for an answer, unless one is awaited. */
  measure() {
    if (!this.#pingedAt) this.check();
  }

  /** Checks the connection, after another part of the page saw signs that it is dead. */
  check() {
    if (this.connected) this.#probe(HURRIED_ANSWER_MS);
  }

  leave() {
    this.dispatchEvent(new Event('leaving'));
    this.send('leave');
    this.#end('left');
  }

  /** Closes without leaving: a participant who soon reconnects stays the same. */
  close() {
    this.#stop();
  }

  #handleData(data) {
    this.#confirmAlive();
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message?.type === 'pong' && this.#pingedAt) {
      this.#roundTripMs = Date.now() - this.#pingedAt;
      this.#pingedAt = 0;
    }
    if (message?.type === 'connected') {
      this.#attempt = 0;
      this.#lostAt = 0;
      this.#fault = false;
    }
    if (typeof message?.type === 'string' && message.type !== 'pong') {
      this.dispatchEvent(new CustomEvent('message', { detail: message }));
    }
  }

  #confirmAlive() {
    this.confirmedAt = Date.now();
    this.#probing = false;
    clearTimeout(this.#heart);
    clearTimeout(this.#doubted);
    if (this.#isDoubted) this.dispatchEvent(new Event('back'));
    this.#isDoubted = false;
    this.#heart = setTimeout(() => this.#probe(ANSWER_MS), SILENCE_MS);
  }

  #probe(patience) {
    const socket = this.#socket;
    if (!this.connected || (this.#probing && patience === ANSWER_MS)) return;
    this.#probing = true;
    this.send('ping');
    this.#pingedAt ||= Date.now();
    clearTimeout(this.#heart);
    clearTimeout(this.#doubted);
    const current = (step) => () => socket === this.#socket && !this.#over && step();
    this.#heart = setTimeout(current(() => this.#lost()), patience);
    this.#doubted = setTimeout(current(() => this.#doubt()), DOUBT_MS);
  }

  #doubt() {
    this.#isDoubted = true;
    this.#emitLost();
  }

  #hurry() {
    if (this.connected) return this.check();
    if (!this.#lostAt) return;
    // If this attempt comes too early, the next ones follow soon.
    this.#attempt = 0;
    if (this.#socket === null) this.open();
  }

  async #lost({ pause = 0, refused = false } = {}) {
    clearTimeout(this.#timer);
    clearTimeout(this.#heart);
    clearTimeout(this.#doubted);
    this.#probing = false;
    this.#isDoubted = false;
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    const now = Date.now();
    if (!this.#lostAt) this.#lostAt = now;
    this.#emitLost();
    if (refused) {
      const opened = this.#opened;
      const why = await this.#whyRefused();
      // A newer attempt is under way; ignore this result.
      if (this.#over || this.#opened !== opened) return;
      if (why) return this.#end(why);
      this.#emitLost();
    }
    if (now - this.#lostAt > GIVE_UP_MS) return this.#end(this.#fault ? 'error.internal' : 'gave-up');
    this.#timer = setTimeout(() => this.open(), pause + backoff(this.#attempt++));
  }

  #emitLost() {
    this.dispatchEvent(new CustomEvent('lost', { detail: { fault: this.#fault } }));
  }

  async #whyRefused() {
    try {
      const answer = await fetchWithin(REASON_MS, this.#page, { cache: 'no-store', redirect: 'manual' });
      this.#fault = answer.status === FAULT_STATUS;
      if (!REFUSED.has(answer.status)) return null;
      const page = new DOMParser().parseFromString(await answer.text(), 'text/html');
      const { code } = page.documentElement.dataset;
      return code ? `error.${code}` : REFUSED.get(answer.status);
    } catch {
      this.#fault = false;
      return null;
    }
  }

  #end(why) {
    if (this.#over) return;
    this.#stop();
    this.dispatchEvent(new CustomEvent('over', { detail: why }));
  }

  #stop() {
    this.#over = true;
    this.#away.abort();
    for (const timer of [this.#timer, this.#heart, this.#doubted]) clearTimeout(timer);
    const socket = this.#socket;
    this.#socket = null;
    // Let `leave` go out first. The server then closes; this is the fallback.
    if (socket) setTimeout(() => socket.close(), 300);
  }
}
