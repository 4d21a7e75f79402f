// Short notes that come and go on the call screen, for eyes and for ears.

import { byId, el } from './dom.js';
import { alert, announce } from './a11y.js';

const HELD_MS = 6000;
const MANY = 3;

export function note(text, { loud = false, quiet = false } = {}) {
  (loud ? alert : announce)(text);
  if (quiet) return;
  const element = el('p', { className: loud ? 'note loud' : 'note', testid: 'note' }, text);
  const notes = byId('notes');
  notes.append(element);
  while (notes.children.length > MANY) notes.firstChild.remove();
  setTimeout(() => element.remove(), HELD_MS);
}
