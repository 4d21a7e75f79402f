// How to allow camera and microphone in this browser, step by step, with pictures. Loaded only for who was refused.

import { recognise, steps } from './browsers.js';
import { byId, el } from './dom.js';
import { alert } from './a11y.js';

const SVG = 'http://www.w3.org/2000/svg';
const KINDS = { audio: 'microphone', video: 'camera' };

/** Each picture: shapes of `[tag, class, attributes]`. The classes are colours: `line`, `fill`, and `mark` for what to press. */
const bar = (...shapes) => [['rect', 'line', { x: 3, y: 14, width: 74, height: 20, rx: 10 }], ['path', 'line', { d: 'M34 24h34' }], ['circle', 'mark', { cx: 17, cy: 24, r: 12 }], ...shapes];
const toggle = (y) => [['rect', 'fill', { x: 50, y: y - 5, width: 20, height: 10, rx: 5 }], ['circle', 'hole', { cx: 65, cy: y, r: 3.5 }]];
const CAMERA = ['path', 'solid', { d: 'M10 12h10v8H10zm11 3 5-2v6l-5-2z' }];
const MICROPHONE = ['path', 'solid', { d: 'M15 27a3 3 0 0 1 6 0v4a3 3 0 0 1-6 0zm-2 4a5 5 0 0 0 10 0M18 36v3' }];
const frame = ['rect', 'line', { x: 3, y: 4, width: 74, height: 40, rx: 5 }];
const PICTURES = {
  sliders: bar(['path', 'line', { d: 'M10 20h14M10 28h14' }], ['circle', 'solid', { cx: 20, cy: 20, r: 2.5 }], ['circle', 'solid', { cx: 14, cy: 28, r: 2.5 }]),
  lock: bar(['path', 'solid', { d: 'M12 23h10v8H12z' }], ['path', 'line', { d: 'M14 23v-3a3 3 0 0 1 6 0v3' }]),
  page: bar(['rect', 'line', { x: 12, y: 17, width: 10, height: 9, rx: 1 }], ['path', 'line', { d: 'M11 30h12' }]),
  crossed: bar(['path', 'solid', { d: 'M10 20h9v8h-9zm10 3 4-2v6l-4-2z' }], ['path', 'line', { d: 'M10 31 24 17' }]),
  switches: [frame, CAMERA, MICROPHONE, ...toggle(16), ...toggle(32)],
  unblock: [frame, CAMERA, MICROPHONE, ['circle', 'mark', { cx: 62, cy: 16, r: 8 }], ['path', 'line', { d: 'm59 13 6 6m0-6-6 6' }], ['circle', 'mark', { cx: 62, cy: 34, r: 8 }], ['path', 'line', { d: 'm59 31 6 6m0-6-6 6' }]],
  menu: [frame, ['path', 'line', { d: 'M12 13h40M12 35h46' }], ['rect', 'mark', { x: 8, y: 18, width: 64, height: 12, rx: 3 }], ['path', 'line', { d: 'M14 24h44' }]],
  gear: [frame, ['circle', 'line', { cx: 40, cy: 24, r: 9 }], ['circle', 'line', { cx: 40, cy: 24, r: 3 }], ['path', 'line', { d: 'M40 11v4m0 18v4M27 24h4m18 0h4M31 15l3 3m12 12 3 3m0-18-3 3M34 30l-3 3' }]],
  again: [['rect', 'fill', { x: 6, y: 12, width: 68, height: 24, rx: 8 }], ['path', 'holeLine', { d: 'M46.5 21.5A7 7 0 1 0 47 25M47 16v6h-6' }]],
};

function draw(name) {
  const svg = document.createElementNS(SVG, 'svg');
  for (const [key, value] of Object.entries({ class: 'help-picture', viewBox: '0 0 80 48', 'aria-hidden': 'true', focusable: 'false' })) svg.setAttribute(key, value);
  for (const [tag, className, attributes] of PICTURES[name]) {
    const shape = document.createElementNS(SVG, tag);
    shape.setAttribute('class', className);
    for (const [key, value] of Object.entries(attributes)) shape.setAttribute(key, String(value));
    svg.append(shape);
  }
  return svg;
}

/** The steps for this browser. `what` is the problem: `refused`, or `refused-system`. */
export function instructions(texts, what) {
  const here = recognise(navigator);
  const list = steps(here, { isSystem: what === 'refused-system' });
  const items = list.map(({ key, picture }) => el('li', {}, draw(picture), el('span', {}, texts.text(key))));
  return el('ol', { className: 'help-steps', testid: 'help', dataset: { browser: here.browser, system: here.system } }, ...items);
}

/** Puts the steps into a card of the first screen, in place of its general text. */
export function addTo(card, texts, what) {
  card.querySelector('p:not(.help-still)').replaceWith(instructions(texts, what));
}

/** They tried again, and were refused again: says so, or nothing seems to happen. */
export function stillRefused(card, texts) {
  card.querySelector('.help-still')?.remove();
  const text = texts.text('help.still');
  card.querySelector('.help-steps, p').before(el('p', { className: 'help-still', testid: 'help-still' }, text));
  alert(text);
}

/** Calls back when the browser allows one of these devices after all, without anybody pressing a button. */
export async function whenAllowed(allowed, signal) {
  // Both may be allowed at once, but must be opened one after the other.
  let before = Promise.resolve();
  for (const name of Object.values(KINDS)) {
    try {
      const permission = await navigator.permissions.query({ name });
      permission.addEventListener('change', () => permission.state === 'granted' && (before = before.then(allowed)), { signal });
    } catch {
      // This browser does not tell: “Try again” remains.
    }
  }
}

/** In the call: the steps and “Try again”, for a device (`audio` or `video`) that was refused. */
export async function openHelp({ texts, media, kind }) {
  if (byId('help-dialog')) return;
  const away = new AbortController();
  const [what, title] = [media.problems[kind], `failure.${media.problems[kind]}`];
  const heading = texts.has(`${title}-${KINDS[kind]}.title`) ? `${title}-${KINDS[kind]}.title` : `${title}.title`;
  const dialog = el('dialog', { id: 'help-dialog', testid: 'help-dialog' });
  const acquire = async () => {
    await media.acquire();
    if (media[kind]) dialog.close();
  };
  const retry = async () => {
    await acquire();
    if (!media[kind]) stillRefused(dialog, texts);
  };
  const button = (className, testid, key, click) => el('button', { type: 'button', className, testid, on: { click } }, texts.text(key));
  dialog.setAttribute('aria-labelledby', 'help-title');
  dialog.append(
    el('h2', { id: 'help-title', tabIndex: -1 }, texts.text(heading)),
    instructions(texts, what),
    el('div', { className: 'choices' }, button('secondary', 'help-close', 'help.close', () => dialog.close()), button('primary', 'help-retry', 'failure.retry', retry)),
  );
  dialog.addEventListener('close', () => {
    away.abort();
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  byId('help-title').focus();
  await whenAllowed(acquire, away.signal);
}
