// Raised hands: they stay until they are lowered, and stand in the order of their raising.

import { byId, el, face, icon } from './dom.js';
import { announce } from './a11y.js';
import { note } from './notes.js';

/** The place of the next hand, after all that are raised. */
export const next = (people) => 1 + Math.max(0, ...people.map(({ hand }) => hand ?? 0));

/** Those with a raised hand, the first one first. Hands that were raised at once stand by user id, for all alike. */
export function inOrder(people) {
  const raised = people.filter(({ hand }) => hand > 0);
  return raised.sort((one, other) => one.hand - other.hand || (one.userId < other.userId ? -1 : 1));
}

export class Hands {
  #away = new AbortController();

  constructor({ texts, session, signalling }) {
    Object.assign(this, { texts, session });
    const { signal } = this.#away;
    byId('hand').addEventListener('click', () => this.#toggle(), { signal });
    for (const event of ['people', 'call']) session.addEventListener(event, () => this.#render(), { signal });
    signalling.addEventListener('message', ({ detail: { type } }) => type === 'lower-hand' && this.#loweredByHost(), { signal });
  }

  close() {
    this.#away.abort();
  }

  #toggle() {
    const { session, texts } = this;
    session.setHand(session.hand ? 0 : next([...session.people.values()]));
    announce(texts.text(session.hand ? 'hand.own.raised' : 'hand.own.lowered'));
  }

  #loweredByHost() {
    if (!this.session.hand) return;
    this.session.setHand(0);
    note(this.texts.text('hand.loweredByHost'));
  }

  #render() {
    const { session, texts } = this;
    if (!session.self) return;
    const raised = session.hand > 0;
    byId('hand').hidden = !session.self.publishes;
    byId('hand').classList.toggle('off', raised);
    face(byId('hand'), 'hand', texts.text(raised ? 'hand.lower' : 'hand.raise'));
    byId('self-hand').hidden = !raised;
    this.#list();
  }

  /** In the panel: who is next. */
  #list() {
    const { session } = this;
    const hands = inOrder([{ ...session.self, hand: session.hand }, ...session.people.values()]);
    byId('panel-hands').hidden = hands.length === 0;
    const list = byId('hands-list');
    const shown = JSON.stringify(hands.map(({ userId, name, role }) => [userId, name, role]));
    if (list.dataset.shown === shown) return;
    const hadFocus = list.contains(document.activeElement);
    list.dataset.shown = shown;
    list.replaceChildren(...hands.map((person) => this.#row(person)));
    if (hadFocus) byId('panel-title').focus();
  }

  #row({ userId, name, role }) {
    const { session, texts } = this;
    const who = texts.who({ name, role });
    const isSelf = userId === session.self.userId;
    const lower = () => (isSelf ? session.setHand(0) : session.lowerHand(userId));
    return el(
      'li',
      { dataset: { userId }, testid: 'raised' },
      el('span', { className: 'person-name' }, icon('hand'), el('span', {}, isSelf ? texts.text('call.you.named', { name: who }) : who)),
      el('span', { className: 'actions' }, el('button', { type: 'button', className: 'small-button', testid: 'lower', label: texts.text('hand.lower.name', { name: who }), on: { click: lower } }, texts.text('hand.lower'))),
    );
  }
}
