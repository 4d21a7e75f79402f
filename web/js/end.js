// The last screen: why it is over, and what to do.

import { byId } from './dom.js';

/** The catalogue's keys for a reason: the end screen's own, or an error page's. */
const keysOf = (texts, why) => (texts.has(`${why}.title`) ? why : texts.has(`end.${why}.title`) ? `end.${why}` : 'end.ended');

/** Fills the screen in; returns its title. `time` says how long it lasted, if there was a call. */
export function fill({ texts, why, role, time, onAgain }) {
  const keys = keysOf(texts, why);
  const title = texts.text(`${keys}.title`);
  byId('end').dataset.reason = why;
  document.body.dataset.endReason = why;
  byId('end-title').textContent = title;
  byId('end-text').textContent = texts.text(`${keys}.text`);
  byId('end-todo').textContent = texts.text(texts.keyFor(role, `${keys}.todo`));
  byId('end-lasted').textContent = time || '';
  byId('end-lasted').hidden = !time;
  byId('again').hidden = !texts.has(`${keys}.again`);
  if (texts.has(`${keys}.again`)) byId('again').textContent = texts.text(`${keys}.again`);
  byId('again').addEventListener('click', onAgain);
  return title;
}
