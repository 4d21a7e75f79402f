// Watches the connections to the others: says what is wrong, as trouble.js decides, and counts for the service how good they were.

import { alert, announce } from './a11y.js';
import { note, setTrouble } from './notes.js';
import { Extras } from './extras.js';
import { Lines } from './lines.js';
import { Tally, worst } from './tally.js';
import { blame, flows, kindOf, trouble } from './trouble.js';

const TICK_MS = 1000;
const REPORT_MS = 10_000;
/** The service takes this long to answer: our own connection is weak. */
const SLOW_MS = 1500;
/** A picture that has not moved for so long is suspect: time to ask whose connection it is. */
const SUSPECT_MS = 800;
/** A camera that was just switched on, or a page that was just uncovered, may need this long for its picture. */
const START_MS = 2000;
/** A weak connection is told for so long; afterwards, the mark at the name is enough. */
const WEAK_TOLD_MS = 10_000;
/** After giving up: how often, and how many times, to look for the service once the network seems to be back. */
const RETURN_MS = 2000;
const RETURNS_MAX = 30;
/** Whose banner it is. The others are told on the tile. */
const BANNERS = { fault: 'lost', lost: 'lost', own: 'trouble', weak: 'trouble' };

export class Watch {
  #lines;
  #tally = new Tally();
  #seen = new Map();
  #told = '';
  #weakSince = 0;
  #timers;
  #away = new AbortController();

  constructor({ texts, media, session, signalling, slot }) {
    Object.assign(this, { texts, session, signalling, key: `video-session:call:${slot}` });
    this.#lines = new Lines({ send: (type, fields) => signalling.send(type, fields), own: () => this.#own });
    this.extras = new Extras({ texts, media, session, signalling });
    this.#timers = [setInterval(() => this.#tick(), TICK_MS), setInterval(() => this.#report(), REPORT_MS)];
    const { signal } = this.#away;
    for (const event of ['quality', 'people', 'lost', 'back']) session.addEventListener(event, () => this.#look(), { signal });
    session.addEventListener('call', () => this.#restore(), { signal });
    // The session tells of a message before it acts on it.
    session.addEventListener('message', ({ detail }) => this.#handle(detail), { signal });
    signalling.addEventListener('leaving', () => this.#report(), { signal });
    document.addEventListener('visibilitychange', () => this.#visible(), { signal });
    window.addEventListener('pagehide', () => this.#save(), { signal });
  }

  close() {
    this.#away.abort();
    this.extras.close();
    for (const timer of this.#timers) clearInterval(timer);
    this.#forget();
    setTrouble(null, () => {});
  }

  #handle(message) {
    if (message.type === 'network') this.#lines.handle(message);
    if (message.type !== 'connected') return;
    this.#lines.renew();
    // To the service we are somebody new.
    if (!message.resumed) this.#tally = new Tally();
  }

  get #own() {
    if (this.session.lost || !this.signalling.connected) return 'lost';
    return this.signalling.waitMs > SLOW_MS ? 'weak' : 'good';
  }

  /** From when on somebody's picture should move. */
  #since(person, now) {
    const sign = `${person.state} ${person.cameraOff} ${person.screen} ${document.hidden}`;
    const before = this.#seen.get(person.userId);
    if (before?.sign === sign) return before.since;
    if (person.state === 'connected' && before?.state !== 'connected') this.#lines.greet(person.userId);
    const since = now + START_MS;
    this.#seen.set(person.userId, { sign, since, state: person.state });
    return since;
  }

  #judge(now) {
    const { session, signalling } = this;
    const judged = [...session.people.values()].map((person) => {
      const since = this.#since(person, now);
      // Browsers may not show, nor count, the pictures of a page that nobody sees.
      const kind = document.hidden && person.state === 'connected' ? null : kindOf(person, { now, since });
      const { quality } = person;
      const isSuspect = person.state === 'connected' && quality?.frameAt > 0 && now - Math.max(quality.frameAt, since) > SUSPECT_MS;
      if (kind || isSuspect) {
        signalling.measure();
        this.#lines.ask(person.userId, now);
      }
      const theirs = this.#lines.of(person.userId, { now, confirmedAt: signalling.confirmedAt });
      return { ...person, kind, whose: kind && blame({ own: this.#own, theirs, server: quality?.server }) };
    });
    for (const userId of this.#seen.keys()) {
      if (session.people.has(userId)) continue;
      this.#seen.delete(userId);
      this.#lines.forget(userId);
    }
    return judged;
  }

  #look() {
    const { session } = this;
    if (session.stage !== 'call' || this.looking) return;
    this.looking = true;
    const now = Date.now();
    const judged = this.#judge(now);
    this.#weakSince = judged.some(({ kind }) => kind === 'weak') ? this.#weakSince || now : 0;
    const isOld = this.#weakSince && now - this.#weakSince > WEAK_TOLD_MS;
    const people = judged.filter(({ kind }) => kind && !(kind === 'weak' && isOld));
    const flowing = judged.some((person) => flows(person, now));
    const found = trouble({ fault: session.fault, lost: session.lost, flowing, people });
    this.#speak(found);
    const text = found && this.#text(found);
    setTrouble(found && { ...found, text, place: BANNERS[found.kind] }, (shown) => this.#mark(judged, shown));
    this.judged = judged;
    this.looking = false;
  }

  #text({ key, userId }) {
    const { session, texts } = this;
    const person = session.people.get(userId);
    return texts.text(texts.keyFor(session.self.role, key), { name: person ? texts.who(person) : '' });
  }

  /** What stands on each tile: the trouble if it is about this one and nothing else is told, else in a word. */
  #mark(judged, shown) {
    const { session, texts } = this;
    for (const { userId, kind } of judged) {
      let key = null;
      if (shown && !BANNERS[shown.kind] && shown.userId === userId) key = texts.keyFor(session.self.role, shown.key);
      else if (kind && kind !== 'weak' && !BANNERS[shown?.kind]) key = `call.short.${kind}`;
      else if (kind && kind !== 'weak') key = '';
      const isPoor = kind === 'weak';
      const changes = { trouble: key, poor: isPoor };
      const now = session.people.get(userId);
      if (now && (now.trouble !== key || now.poor !== isPoor)) session.mark(userId, changes);
    }
  }

  /** Each trouble once, and when it is over. */
  #speak(found) {
    const sign = found ? `${found.key} ${found.userId ?? ''}` : '';
    if (sign === this.#told) return;
    const before = this.#told;
    this.#told = sign;
    if (found?.kind === 'weak') announce(this.#text(found));
    else if (found) alert(this.#text(found));
    else {
      alert('');
      // After a lost connection to the service, that it is back is told anyway.
      if (!before.startsWith('call.lost')) note(this.texts.text('call.fine'), { quiet: true });
    }
  }

  #tick() {
    this.#look();
    const { session } = this;
    const others = session.stage === 'call' ? (this.judged ?? []).filter(({ userId, publishes }) => publishes && session.people.has(userId)) : [];
    // Before the first connection, there is nothing to rate.
    this.#tally.add(worst(others.filter(({ quality }) => quality)), performance.now());
  }

  #report() {
    if (this.session.stage === 'call') this.signalling.send('quality', { data: this.#tally.data });
  }

  #visible() {
    if (document.hidden) this.#report();
    this.#look();
  }

  // --- a page that is reloaded goes on counting, and keeps its hand up -----------------------------------------------------

  #save() {
    this.#report();
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ tally: this.#tally.save(), hand: this.session.hand }));
    } catch {
      // The browser stores nothing, so it counts from the beginning.
    }
  }

  #restore() {
    if (!this.session.self.resumed) return this.#forget();
    try {
      const { tally, hand } = JSON.parse(sessionStorage.getItem(this.key)) ?? {};
      if (tally) this.#tally.restore(tally);
      if (hand) this.session.setHand(hand);
    } catch {
      // As above.
    }
    return this.#forget();
  }

  #forget() {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // As above.
    }
  }
}

/** After giving up: goes on by itself once the device is online, or looked at again, and the service answers. */
export function comeBack(answers, goOn) {
  let left = 0;
  let going = false;
  const look = async () => {
    left = RETURNS_MAX;
    if (going) return;
    going = true;
    for (; left > 0; left -= 1) {
      if (await answers()) return goOn();
      await new Promise((resolve) => setTimeout(resolve, RETURN_MS));
    }
    going = false;
  };
  window.addEventListener('online', look);
  document.addEventListener('visibilitychange', () => document.hidden || look());
}
