// The list of a doctor's day. Rows stay the same elements while they change, so that nobody loses their place.

import { byId, el } from './dom.js';

const MINUTE_MS = 60_000;

export class DayList {
  #rows = new Map();
  #behindMs = 0;
  #sessions = [];

  /**
   * `enter(id, {isIn})` lets the doctor into a session, in which they are somewhere already if `isIn`. Returns what went wrong, if
   * anything did.
   */
  constructor({ texts, enter }) {
    Object.assign(this, { texts, enter });
    // With the region of the browser's language, which decides how times are written.
    const language = navigator.languages.find((one) => one.split('-')[0] === texts.language) ?? texts.language;
    this.clock = new Intl.DateTimeFormat(language, { timeStyle: 'short' });
    this.weekday = new Intl.DateTimeFormat(language, { weekday: 'short' });
    this.date = new Intl.DateTimeFormat(language, { dateStyle: 'full' });
    this.minutes = new Intl.NumberFormat(language, { style: 'unit', unit: 'minute', unitDisplay: 'long' });
    this.names = new Intl.ListFormat(language, { type: 'conjunction' });
  }

  /** Shows a view of the day. Returns the names of those who did not wait in the view before. */
  show({ now, sessions, complete }) {
    const waitedBefore = new Set(this.#sessions.flatMap(waitingKeys));
    // Waiting times are counted by the service's clock.
    this.#behindMs = now - Date.now();
    this.#sessions = sessions;
    byId('cut').hidden = complete;
    const [live, ended] = [sessions.filter((one) => one.state !== 'ended'), sessions.filter((one) => one.state === 'ended')];
    byId('day-empty').hidden = live.length > 0;
    byId('ended').hidden = ended.length === 0;
    byId('ended-summary').textContent = this.texts.text('doctor.ended', { count: ended.length });
    this.#place(byId('sessions'), live);
    this.#place(byId('ended-sessions'), ended);
    const known = new Set(sessions.map(({ id }) => id));
    for (const [id, { row }] of this.#rows) {
      if (known.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    this.tick();
    return sessions.flatMap((session) => session.waiting.filter((_, index) => !waitedBefore.has(waitingKeys(session)[index])).map((person) => this.texts.who(person)));
  }

  /** Renews what depends on the time. */
  tick() {
    byId('day-date').textContent = [document.documentElement.dataset.name, this.date.format(Date.now())].filter(Boolean).join(' · ');
    for (const session of this.#sessions) this.#fill(this.#rows.get(session.id), session);
  }

  #place(list, sessions) {
    sessions.forEach((session, index) => {
      if (!this.#rows.has(session.id)) this.#rows.set(session.id, this.#row(session.id));
      const { row } = this.#rows.get(session.id);
      // Moving an element takes the focus from it.
      if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
    });
  }

  #row(id) {
    const part = (name, tag = 'p') => el(tag, { className: `session-${name}`, testid: `session-${name}` });
    const parts = { time: part('time'), who: part('who'), waits: part('waits'), present: part('present'), none: part('none'), fault: part('fault'), opens: part('opens') };
    parts.fault.setAttribute('role', 'alert');
    const button = el('button', { type: 'button', testid: 'enter', on: { click: () => this.#go(id) } });
    const { time, who, waits, present, none, fault, opens } = parts;
    const go = el('div', { className: 'session-go' }, button);
    const what = el('div', { className: 'session-what' }, who, waits, present, none, fault);
    const row = el('li', { className: 'session', testid: 'session', dataset: { session: id } }, time, what, go, opens);
    return { row, button, go, ...parts };
  }

  async #go(id) {
    const { button, fault, isIn } = this.#rows.get(id);
    set(fault, '');
    button.disabled = true;
    const wrong = await this.enter(id, { isIn });
    button.disabled = false;
    if (!wrong) return;
    const { code, opens } = wrong;
    const key = this.texts.has(`doctor.enter.${code}`) ? `doctor.enter.${code}` : 'doctor.enter.failed';
    set(fault, this.texts.text(key, { time: opens ? this.clock.format(opens) : '' }));
    button.focus();
  }

  #fill(parts, session) {
    const { texts } = this;
    const { row, button, go } = parts;
    const [waiting, others] = [session.waiting, session.present.filter(({ you }) => !you)];
    const now = Date.now() + this.#behindMs;
    const isLive = session.state !== 'ended';
    const isOpen = isLive && (!session.opens || session.opens <= now);
    const patient = [...session.waiting, ...session.present].find(({ role }) => role === 'patient');
    const who = patient ? texts.who(patient) : session.patient || texts.role('patient');
    const time = this.#time(session);
    row.dataset.waiting = String(waiting.length > 0);
    row.dataset.state = session.state;
    set(parts.time, time);
    set(parts.who, who);
    set(parts.waits, waiting.map((person) => this.#waits(person, now, patient)).join(' '));
    set(parts.present, this.#present(session, others));
    set(parts.none, isOpen && waiting.length + session.present.length === 0 ? texts.text('doctor.nobody') : '');
    set(parts.opens, isLive && !isOpen ? texts.text('doctor.opens', { time: this.clock.format(session.opens) }) : '');
    go.hidden = !isOpen;
    button.className = waiting.length > 0 ? 'primary' : 'secondary';
    parts.isIn = session.present.length > others.length;
    const label = texts.text(parts.isIn ? 'doctor.return' : 'doctor.enter');
    if (button.textContent !== label) button.textContent = label;
    // The visible words come first, for who speaks to the browser.
    button.setAttribute('aria-label', `${label}: ${time}, ${who}`);
  }

  #time({ time, scheduled, until }) {
    if (!scheduled) return this.texts.text('doctor.unscheduled');
    const isOn = (other) => new Date(time).toDateString() === new Date(other).toDateString();
    // A range over midnight would have both whole dates, which are longer than the list has room for.
    const range = () => (isOn(until) ? this.clock.formatRange(time, until) : `${this.clock.format(time)}–${this.clock.format(until)}`);
    const clock = until ? range() : this.clock.format(time);
    // At night, the list has sessions of two days.
    return isOn(Date.now()) ? clock : `${this.weekday.format(time)} ${clock}`;
  }

  /** The row names the patient already. */
  #waits(person, now, patient) {
    const key = person === patient ? 'doctor.waiting' : 'doctor.waits';
    const minutes = Math.floor((now - person.since) / MINUTE_MS);
    const values = { name: this.texts.who(person), time: this.minutes.format(minutes) };
    return this.texts.text(minutes < 1 ? `${key}.now` : key, values);
  }

  #present({ present, ended, state }, others) {
    const { texts } = this;
    if (state === 'ended') return ended ? texts.text('doctor.endedAt', { time: this.clock.format(ended) }) : '';
    if (present.length === 0) return '';
    const names = others.map((person) => texts.who(person));
    if (present.length > others.length) names.push(texts.text('call.you'));
    return texts.text('doctor.present', { names: this.names.format(names) });
  }
}

const waitingKeys = ({ id, waiting }) => waiting.map(({ role, since }) => `${id} ${role} ${since}`);

/** Touches only what changed, because screen readers announce changes. */
function set(element, text) {
  if (element.textContent !== text) element.textContent = text;
  element.hidden = text === '';
}
