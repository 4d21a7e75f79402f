// Your own picture: in a corner of the large picture, movable by pointer and keyboard, and hidden if it is in the way.

import { byId, el } from './dom.js';
import { announce } from './a11y.js';
import { nearestCorner } from './layout.js';
import { drawing } from './picture.js';

const CORNERS = ['bottom-end', 'bottom-start', 'top-start', 'top-end'];
const DRAG_MIN_PX = 6;
/** After a touch, the buttons stay for so long. */
const SHOWN_MS = 5000;
const STORED = 'video-session:self-view';

const MOVE = 'M12 2l4 4h-3v5h5V8l4 4-4 4v-3h-5v5h3l-4 4-4-4h3v-5H6v3l-4-4 4-4v3h5V6H8Z';
const HIDE = 'M5 13v-2h14v2Z';
const SHOW = 'M12 3a4.5 4.5 0 1 1 0 9 4.500 4.500 0 0 1 0-9Zm0 11c4.4 0 8 2.200 8 5.200V21H4v-1.800C4 16.200 7.600 14 12 14Z';

const isRightToLeft = () => document.documentElement.dir === 'rtl';

function recall() {
  try {
    return JSON.parse(sessionStorage.getItem(STORED)) ?? {};
  } catch {
    return {};
  }
}

/** The corner that an arrow key leads to from another. */
export function cornerTowards(corner, key, rightToLeft) {
  let [block, inline] = corner.split('-');
  if (key === 'ArrowUp') block = 'top';
  if (key === 'ArrowDown') block = 'bottom';
  if (key === 'ArrowLeft') inline = rightToLeft ? 'end' : 'start';
  if (key === 'ArrowRight') inline = rightToLeft ? 'start' : 'end';
  return `${block}-${inline}`;
}

export class SelfView {
  #corner;
  #isHidden;
  #drag = null;
  #move;
  #toggle;
  #sleeping = 0;
  #away = new AbortController();

  constructor(texts) {
    this.texts = texts;
    const { corner, isHidden } = recall();
    this.#corner = CORNERS.includes(corner) ? corner : CORNERS[0];
    this.#isHidden = isHidden === true;
    const button = (testid, on) => el('button', { type: 'button', className: 'tool', testid, on });
    this.#move = button('self-move', { click: () => this.#next(), keydown: (event) => this.#key(event) });
    this.#move.append(drawing(MOVE));
    for (const name of ['aria-label', 'title']) this.#move.setAttribute(name, texts.text('self.move'));
    this.#toggle = button('self-toggle', { click: () => this.#setHidden(!this.#isHidden) });
    byId('self-tools').replaceChildren(this.#move, this.#toggle);
    const { signal } = this.#away;
    const self = byId('self');
    self.addEventListener('pointerdown', (event) => this.#down(event), { signal });
    self.addEventListener('pointermove', (event) => this.#dragged(event), { signal });
    for (const type of ['pointerup', 'pointercancel']) self.addEventListener(type, (event) => this.#up(event), { signal });
    this.#render();
  }

  close() {
    this.#away.abort();
    clearTimeout(this.#sleeping);
    byId('self-tools').replaceChildren();
  }

  #render() {
    const self = byId('self');
    byId('call').dataset.self = this.#corner;
    self.dataset.corner = this.#corner;
    self.classList.toggle('tucked', this.#isHidden);
    this.#move.hidden = this.#isHidden;
    const text = this.texts.text(this.#isHidden ? 'self.show' : 'self.hide');
    for (const name of ['aria-label', 'title']) this.#toggle.setAttribute(name, text);
    this.#toggle.replaceChildren(drawing(this.#isHidden ? SHOW : HIDE));
  }

  #save() {
    try {
      sessionStorage.setItem(STORED, JSON.stringify({ corner: this.#corner, isHidden: this.#isHidden }));
    } catch {
      // The browser stores nothing: a page that is loaded again begins anew.
    }
  }

  #setHidden(isHidden) {
    this.#isHidden = isHidden;
    this.#render();
    this.#save();
    announce(this.texts.text(isHidden ? 'self.isHidden' : 'self.isShown'));
  }

  #put(corner) {
    if (corner === this.#corner) return;
    this.#corner = corner;
    this.#render();
    this.#save();
    const [block, inline] = corner.split('-');
    const side = (inline === 'start') === isRightToLeft() ? 'right' : 'left';
    announce(this.texts.text(`self.at.${block}-${side}`));
  }

  /** For those who can neither drag nor press keys. */
  #next() {
    this.#put(CORNERS[(CORNERS.indexOf(this.#corner) + 1) % CORNERS.length]);
  }

  #key(event) {
    if (!event.key.startsWith('Arrow')) return;
    event.preventDefault();
    this.#put(cornerTowards(this.#corner, event.key, isRightToLeft()));
  }

  #wake() {
    byId('self').classList.add('awake');
    clearTimeout(this.#sleeping);
    this.#sleeping = setTimeout(() => byId('self').classList.remove('awake'), SHOWN_MS);
  }

  #down(event) {
    this.#wake();
    if (this.#isHidden || event.button > 0 || event.target.closest('button')) return;
    this.#drag = { id: event.pointerId, x: event.clientX, y: event.clientY, isMoving: false };
    byId('self').setPointerCapture(event.pointerId);
  }

  #dragged(event) {
    const drag = this.#drag;
    if (drag?.id !== event.pointerId) return;
    const [x, y] = [event.clientX - drag.x, event.clientY - drag.y];
    drag.isMoving ||= Math.hypot(x, y) > DRAG_MIN_PX;
    if (drag.isMoving) byId('self').style.transform = `translate(${x}px, ${y}px)`;
  }

  #up(event) {
    const drag = this.#drag;
    if (drag?.id !== event.pointerId) return;
    this.#drag = null;
    const self = byId('self');
    const [box, stage] = [self.getBoundingClientRect(), byId('stage').getBoundingClientRect()];
    self.style.transform = '';
    if (!drag.isMoving || event.type !== 'pointerup') return;
    const left = box.left + box.width / 2 - stage.left;
    const from = { start: isRightToLeft() ? stage.width - left : left, top: box.top + box.height / 2 - stage.top };
    this.#put(nearestCorner(from, stage));
  }
}
