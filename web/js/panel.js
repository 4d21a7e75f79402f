// The host's panel: lists waiting and admitted participants; admits, mutes and removes them, and ends the session.

import { byId, el, face, icon } from './dom.js';
import { announce, ask, disclose } from './a11y.js';
import { silence } from './people.js';

/** The panel is beside the call if there is room, otherwise over it. */
const BESIDE = window.matchMedia('(min-width: 60rem)');

export class Panel {
  #set;

  constructor({ texts, session }) {
    Object.assign(this, { texts, session });
    const panel = byId('panel');
    this.#set = disclose(byId('people'), panel, {
      onChange: (open) => {
        panel.hidden = !open;
        document.body.classList.toggle('with-panel', open);
        this.#cover(open && !BESIDE.matches);
        if (open) byId('panel-title').focus();
      },
    });
    BESIDE.addEventListener('change', () => this.#cover(!panel.hidden && !BESIDE.matches));
    byId('panel-close').addEventListener('click', () => this.#set(false, { focus: true }));
    byId('end-all').addEventListener('click', () => this.end());
  }

  /** Makes everything under the panel inert until it is closed. */
  #cover(covered) {
    for (const id of ['stage', 'bar', 'notices', 'reactions', 'tools', 'self']) byId(id).inert = covered;
  }

  render() {
    const { session, texts } = this;
    const host = session.may('host');
    byId('people').hidden = !host;
    if (!host) return;
    const waiting = [...session.queue.values()];
    face(byId('people'), 'people', texts.text('call.people'));
    byId('people').dataset.badge = waiting.length ? String(waiting.length) : '';
    byId('end-all').hidden = !session.may('end-call');
    byId('panel-waiting').hidden = waiting.length === 0;
    this.#fill('waiting-list', waiting, (person) => this.#waitingRow(person));
    this.#fill('present-list', [session.self, ...session.people.values()], (person) => this.#presentRow(person));
    this.#fill('door', waiting, (person) => this.#knockBanner(person));
  }

  /** Asks for confirmation. */
  async end() {
    if ((await ask(byId('end-dialog'), ['end-confirm', 'end-cancel'])) === 'end-confirm') this.session.endForAll();
  }

  /** Rebuilds the rows only if something changed, and keeps the focus on its button. */
  #fill(id, persons, row) {
    const list = byId(id);
    const shown = JSON.stringify(persons.map(({ userId, name, role, muted, microphone, publishes }) => [userId, name, role, muted, microphone, publishes]));
    if (list.dataset.shown === shown) return;
    const focused = list.contains(document.activeElement) ? document.activeElement : null;
    const [testid, userId] = [focused?.dataset.testid, focused?.closest('[data-user-id]')?.dataset.userId];
    list.dataset.shown = shown;
    list.replaceChildren(...persons.map(row));
    if (!focused) return;
    const same = [...list.children].find((child) => child.dataset.userId === userId)?.querySelector(`[data-testid="${testid}"]`);
    (same ?? (byId('panel').hidden ? byId('people') : byId('panel-title'))).focus();
  }

  #button(testid, key, person, className, click) {
    const { texts } = this;
    return el('button', { type: 'button', className, testid, label: texts.text(`${key}.name`, { name: texts.who(person) }), on: { click } }, texts.text(key));
  }

  #name(person) {
    return el('span', { className: 'person-name' }, this.texts.who(person), ...this.#role(person));
  }

  /** Participants may have chosen their name, but not their role. */
  #role(person) {
    const role = this.texts.role(person.role);
    return role === this.texts.who(person) ? [] : [' ', el('small', {}, role)];
  }

  #admit(person) {
    return this.#button('admit', 'panel.admit', person, 'small-button good', () => this.session.admit(person.userId));
  }

  #remove(person) {
    return this.#button('remove', 'panel.remove', person, 'small-button', () => this.#askRemove(person));
  }

  #waitingRow(person) {
    return el('li', { dataset: { userId: person.userId }, testid: 'waits' }, this.#name(person), el('span', { className: 'actions' }, this.#admit(person), this.#remove(person)));
  }

  #presentRow(person) {
    const { texts, session } = this;
    const self = person === session.self;
    if (self) return el('li', { dataset: { userId: person.userId }, testid: 'present' }, el('span', { className: 'person-name' }, texts.text('call.you.named', { name: texts.who(person) })));
    // What the system has interrupted, no request changes.
    const command = person.publishes && session.may('mute-others') && person.microphone !== 'interrupted' ? (person.muted ? this.#unmute(person) : this.#mute(person)) : null;
    return el(
      'li',
      { dataset: { userId: person.userId }, testid: 'present' },
      this.#name(person),
      silence(person) && person.publishes ? el('span', { className: 'chip' }, icon('mic-off'), el('span', {}, texts.text(silence(person)))) : null,
      el('span', { className: 'actions' }, command, this.#remove(person)),
    );
  }

  #mute(person) {
    return this.#button('mute-other', 'panel.mute', person, 'small-button', () => this.session.askToMute(person.userId));
  }

  /** Asks only: the participant decides. */
  #unmute(person) {
    return this.#button('unmute-other', 'panel.unmute', person, 'small-button', () => {
      this.session.askToUnmute(person.userId);
      announce(this.texts.text('panel.unmute.asked', { name: this.texts.who(person) }));
    });
  }

  /** A participant waits: one tap admits them without opening the panel. */
  #knockBanner(person) {
    return el('p', { className: 'banner', dataset: { userId: person.userId }, testid: 'knock' }, el('span', {}, this.texts.text('panel.waits', { name: this.texts.who(person) }), ...this.#role(person)), this.#button('knock-admit', 'panel.admit', person, 'small-button good', () => this.session.admit(person.userId)));
  }

  async #askRemove(person) {
    byId('remove-title').textContent = this.texts.text('panel.remove.title', { name: this.texts.who(person) });
    byId('keep-out').checked = false;
    if ((await ask(byId('remove-dialog'), ['remove-confirm', 'remove-cancel'])) === 'remove-confirm') this.session.remove(person.userId, byId('keep-out').checked);
  }
}
