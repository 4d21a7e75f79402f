// What is told on the call screen: one thing at a time. Troubles stay until they are over; notes come and go.

import { byId, el } from './dom.js';
import { alert, announce } from './a11y.js';
import { pick } from './trouble.js';

const HELD_MS = 6000;
// A note that had to wait for longer is old news.
const WORTH_MS = 20_000;

let notes = [];
let trouble = null;
let onChange = () => {};

/** What is wrong now: `{kind, text, place}`, or `null`. `place` is the id of its banner, if it has one. */
export function setTrouble(given, changed) {
  trouble = given;
  onChange = changed;
  render();
}

/** `holds` says whether a note that had to wait is still true. */
export function note(text, { loud = false, quiet = false, holds = () => true } = {}) {
  (loud ? alert : announce)(text);
  if (quiet) return;
  // The newer of two is enough.
  notes = [...notes.filter((one) => one.loud !== loud), { text, loud, holds, at: Date.now(), element: null }];
  render();
}

function render() {
  const isWorth = ({ at, element, holds }) => element || (Date.now() - at < WORTH_MS && holds());
  notes = notes.filter(isWorth);
  const shown = pick([...notes, ...(trouble ? [trouble] : [])]);
  const box = byId('notes');
  for (const child of [...box.children]) if (child !== shown?.element) child.remove();
  for (const one of notes) if (one !== shown) one.element = null;
  if (shown && shown !== trouble && !shown.element) show(shown, box);
  for (const id of ['lost', 'trouble']) {
    const text = shown === trouble && trouble?.place === id ? trouble.text : '';
    byId(id).hidden = !text;
    if (byId(id).textContent !== text) byId(id).textContent = text;
  }
  onChange(shown === trouble ? trouble : null);
}

function show(one, box) {
  one.element = el('p', { className: one.loud ? 'note loud' : 'note', testid: 'note' }, one.text);
  box.append(one.element);
  const { element } = one;
  setTimeout(() => {
    if (one.element !== element) return;
    notes = notes.filter((other) => other !== one);
    render();
  }, HELD_MS);
}
