// Accessibility: focus and screen reader announcements.

import { byId } from './dom.js';

/** Shows one screen and hides the others; moves the focus to its heading. */
export function show(screen, title) {
  const before = document.body.dataset.screen;
  document.body.dataset.screen = screen;
  document.title = title;
  for (const main of document.querySelectorAll('[data-screen-for]')) main.hidden = main.dataset.screenFor !== screen;
  if (before === screen) return;
  for (const dialog of document.querySelectorAll('dialog[open]')) dialog.close();
  window.scrollTo(0, 0);
  document.querySelector(`[data-screen-for="${screen}"] h1`)?.focus({ preventScroll: true });
}

// Simultaneous announcements would overwrite each other in a live region, so they queue, each long enough to be read.
const HELD_MS = 1200;
/** Who moves through the page later must not come upon news that are old. */
const CLEARED_MS = 10_000;
/** What waits longer is old; the newest is worth more. */
const QUEUE_MAX = 6;
const queue = [];
let alerting = 0;
let speaking = false;
const clearing = {};

function clearLater(region) {
  clearTimeout(clearing[region.id]);
  clearing[region.id] = setTimeout(() => (region.textContent = ''), CLEARED_MS);
}

/** Queues an announcement for screen readers. */
export function announce(text) {
  if (queue.length >= QUEUE_MAX) queue.shift();
  queue.push(text);
  if (!speaking) next();
}

function next() {
  const text = queue.shift();
  speaking = text !== undefined;
  if (!speaking) return;
  const region = byId('status');
  // Screen readers announce the same text twice only if the region changes in between.
  region.textContent = '';
  setTimeout(() => {
    region.textContent = text;
    clearLater(region);
    setTimeout(next, HELD_MS);
  }, 50);
}

/** Announces something at once. */
export function alert(text) {
  const region = byId('alert');
  region.textContent = '';
  clearTimeout(alerting);
  if (!text) return;
  alerting = setTimeout(() => {
    region.textContent = text;
    clearLater(region);
  }, 50);
}

/** Makes a button open and close something; Escape closes it and gives the focus back. */
export function disclose(button, target, { onChange = () => {} } = {}) {
  const set = (open, { focus = false } = {}) => {
    if ((button.getAttribute('aria-expanded') === 'true') === open) return;
    button.setAttribute('aria-expanded', String(open));
    onChange(open);
    if (!open && focus) button.focus();
  };
  button.addEventListener('click', () => set(button.getAttribute('aria-expanded') !== 'true'));
  for (const element of [button, target]) {
    element.addEventListener('keydown', (event) => {
      if (event.key === 'Escape') set(false, { focus: true });
    });
  }
  return set;
}

/** Opens a dialog and returns which button was pressed; `null` for Escape. */
export function ask(dialog, buttons) {
  return new Promise((resolve) => {
    const away = new AbortController();
    const done = (answer) => {
      away.abort();
      if (dialog.open) dialog.close();
      resolve(answer);
    };
    for (const id of buttons) byId(id).addEventListener('click', () => done(id), { signal: away.signal });
    dialog.addEventListener('close', () => done(null), { signal: away.signal });
    dialog.showModal();
    dialog.querySelector('h2').focus();
  });
}
