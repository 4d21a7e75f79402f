// Emoji that rise over their sender's video.

import { byId, el } from './dom.js';

/** Those who raise their hand have a control of its own for it. Other clients may still send one. */
const RAISED_HAND = ['✋', 'hand'];
const OFFERED = [
  ['👍', 'thumbs'],
  ['👏', 'clap'],
  ['❤️', 'heart'],
  ['😊️', 'smile'],
  ['❓', 'question'],
];
const KNOWN = [...OFFERED, RAISED_HAND];
const LONGEST = 16;
const AT_ONCE = 12;
const HELD_MS = 4000;

export function choices(texts, onReact) {
  byId('reactions').replaceChildren(
    ...OFFERED.map(([emoji, key]) => el('button', { type: 'button', className: 'reaction', testid: `reaction-${key}`, label: texts.text(`reaction.${key}`), on: { click: () => onReact(emoji) } }, emoji)),
  );
}

/** The name of an emoji; the emoji itself if this page does not offer it. */
export function named(texts, emoji) {
  const known = KNOWN.find(([offered]) => offered === emoji);
  return known ? texts.text(`reaction.${known[1]}`) : emoji;
}

/** Returns false if it is not an emoji. */
export function float(emoji, from) {
  const floating = byId('floating');
  if (typeof emoji !== 'string' || !emoji || [...emoji].length > LONGEST || floating.children.length >= AT_ONCE) return false;
  const stage = floating.getBoundingClientRect();
  const box = (from ?? floating).getBoundingClientRect();
  const element = el('span', { className: 'emoji', testid: 'emoji' }, emoji);
  element.style.left = `${box.left - stage.left + box.width * (0.3 + Math.random() * 0.4)}px`;
  element.style.top = `${box.top - stage.top + box.height * 0.6}px`;
  floating.append(element);
  setTimeout(() => element.remove(), HELD_MS);
  return true;
}
