// The buttons of the large picture: zoom, keep it large, take a still of it.

import { byId, el } from './dom.js';
import { announce } from './a11y.js';
import { Still } from './still.js';

// Wheels and pinches change the zoom many times a second: say only where it ends.
const SAY_AFTER_MS = 600;
/** After a touch, the buttons stay for so long. */
const SHOWN_MS = 5000;

const SHAPES = {
  in: 'M11 5h2v6h6v2h-6v6h-2v-6H5v-2h6Z',
  out: 'M5 11h14v2H5Z',
  whole: 'M4 4h6v2H6v4H4Zm10 0h6v6h-2V6h-4ZM4 14h2v4h4v2H4Zm14 0h2v6h-6v-2h4Z',
  pin: 'M8 3h8v2l-1 1v5l3 3v2h-5v5l-1 1-1-1v-5H6v-2l3-3V6L8 5Z',
  still: 'M9 4h6l1.5 2.500H20a2 2 0 0 1 2 2V18a2 2 0 0 1-2 2H4a2 2 0 0 1-2-2V8.500a2 2 0 0 1 2-2h3.5Zm3 5a4 4 0 1 0 0 8 4 4 0 0 0 0-8Z',
};

const SVG = 'http://www.w3.org/2000/svg';

/** A drawing that only the call needs, so it is not among those of the first screen. */
export function drawing(path) {
  const [svg, shape] = ['svg', 'path'].map((name) => document.createElementNS(SVG, name));
  for (const [name, value] of Object.entries({ class: 'icon', viewBox: '0 0 24 24', 'aria-hidden': 'true' })) svg.setAttribute(name, value);
  shape.setAttribute('d', path);
  svg.append(shape);
  return svg;
}

export class Picture {
  #tile = null;
  #saying = 0;
  #hiding = 0;
  #buttons;
  #level;
  #still;
  #away = new AbortController();

  constructor({ texts, session, onPin }) {
    this.texts = texts;
    this.#still = new Still({ texts, session });
    const button = (name, key, click) => el('button', { type: 'button', className: 'tool', testid: `picture-${name}`, label: texts.text(key), title: texts.text(key), on: { click } }, drawing(SHAPES[name]));
    this.#buttons = {
      in: button('in', 'picture.in', () => this.#tile?.zoom.in()),
      out: button('out', 'picture.out', () => this.#tile?.zoom.out()),
      whole: button('whole', 'picture.whole', () => this.#tile?.zoom.reset()),
      pin: button('pin', 'picture.pin', onPin),
      still: button('still', 'picture.still', () => this.#tile && this.#still.take(this.#tile)),
    };
    this.#level = el('span', { className: 'tool-level', testid: 'picture-level' });
    const { in: zoomIn, ...rest } = this.#buttons;
    byId('tools').replaceChildren(zoomIn, this.#level, ...Object.values(rest));
    const { signal } = this.#away;
    byId('tools').addEventListener('keydown', (event) => this.#tile?.zoom.key(event), { signal });
    byId('stage').addEventListener('pointerdown', () => this.#wake(), { signal });
    byId('stage').addEventListener('pointermove', () => this.#wake(), { signal });
  }

  /** Shows the buttons of a tile; of none, if `null`. */
  show(tile, { isPinned, canPin }) {
    if (this.#tile !== tile) {
      this.#tile?.onZoom(null);
      this.#tile = tile;
      tile?.onZoom((change) => this.#zoomed(change));
    }
    const isDark = !tile || tile.isDark;
    byId('tools').hidden = !tile || (isDark && !canPin);
    if (!tile) return;
    byId('tools').setAttribute('aria-label', this.texts.text('picture.of', { name: this.texts.who(tile.person) }));
    const { pin, still } = this.#buttons;
    pin.hidden = !canPin;
    pin.setAttribute('aria-pressed', String(isPinned));
    still.hidden = isDark || !this.#still.isAllowed;
    this.#render(isDark);
  }

  /** After a picture was chosen by keyboard, its button is gone: the focus goes on to what can be done with the picture. */
  focus() {
    this.#buttons.pin.focus({ preventScroll: true });
  }

  close() {
    this.#away.abort();
    clearTimeout(this.#saying);
    clearTimeout(this.#hiding);
    this.#still.close();
    byId('tools').replaceChildren();
  }

  #wake() {
    const { classList } = byId('tools');
    classList.add('awake');
    clearTimeout(this.#hiding);
    this.#hiding = setTimeout(() => classList.remove('awake'), SHOWN_MS);
  }

  #render(isDark = this.#tile.isDark) {
    const { in: zoomIn, out, whole } = this.#buttons;
    const { scale } = this.#tile.zoom;
    const isWhole = scale === 1;
    if (isWhole && [out, whole].includes(document.activeElement)) zoomIn.focus();
    zoomIn.hidden = isDark;
    for (const element of [this.#level, out, whole]) element.hidden = isDark || isWhole;
    this.#level.textContent = this.texts.text('picture.level', { percent: Math.round(scale * 100) });
  }

  #zoomed({ isResized }) {
    this.#render();
    if (!isResized) return;
    clearTimeout(this.#saying);
    this.#saying = setTimeout(() => {
      const { scale } = this.#tile?.zoom ?? { scale: 1 };
      announce(scale === 1 ? this.texts.text('picture.isWhole') : this.texts.text('picture.zoomed', { percent: Math.round(scale * 100) }));
    }, SAY_AFTER_MS);
  }
}
