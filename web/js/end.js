// The last screen: why it is over, and what to do.

import { byId } from './dom.js';

/** The catalogue's keys for a reason: the end screen's own, or an error page's. */
const keysOf = (words, why) => (words.has(`${why}.title`) ? why : words.has(`end.${why}.title`) ? `end.${why}` : 'end.ended');

/** Fills the screen in; returns its title. */
export function fill({ words, why, onAgain }) {
  const keys = keysOf(words, why);
  const title = words.text(`${keys}.title`);
  byId('end').dataset.reason = why;
  document.body.dataset.endReason = why;
  byId('end-title').textContent = title;
  byId('end-text').textContent = words.text(`${keys}.text`);
  byId('end-todo').textContent = words.text(`${keys}.todo`);
  byId('again').hidden = !words.has(`${keys}.again`);
  if (words.has(`${keys}.again`)) byId('again').textContent = words.text(`${keys}.again`);
  byId('again').addEventListener('click', onAgain);
  return title;
}
