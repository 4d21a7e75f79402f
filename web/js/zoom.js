// Enlarges a picture within its frame: by wheel, pinch, drag, double tap and keys. The functions at the top need no browser.

export const SCALE_MAX = 8;
const STEP = 1.5;
const TAPPED_SCALE = 2.5;
/** One turn of the wheel by a notch is about 100. */
const WHEEL_STEP = 0.002;
/** A trackpad's pinch arrives as a wheel with Ctrl, in small numbers. */
const PINCH_STEP = 0.01;
const WHEEL_LINE_PX = 16;
/** The arrow keys move by this part of the frame. */
const PAN_SHARE = 0.15;
const DOUBLE_TAP_MS = 350;
const TAP_PX = 24;
/** A picture that changes its shape by more is another one: a screen, or a phone that was turned. */
const SAME_SHAPE = 0.02;

/** The whole picture. `x` and `y` say by how many pixels the enlarged picture's centre is away from its frame's. */
export const WHOLE = Object.freeze({ scale: 1, x: 0, y: 0 });

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** The size at which a whole picture is shown in its frame. */
export function shownSize(picture, frame) {
  const scale = Math.min(frame.width / picture.width, frame.height / picture.height);
  return { width: picture.width * scale, height: picture.height * scale };
}

/** The nearest view within the limits: never smaller than whole, and no edge farther inside than needed. */
export function bounded({ scale, x, y }, shown, frame) {
  const within = clamp(scale, 1, SCALE_MAX);
  const reach = (length, extent) => Math.max(0, (length * within - extent) / 2);
  // `+ 0` turns -0 into 0.
  return { scale: within, x: clamp(x, -reach(shown.width, frame.width), reach(shown.width, frame.width)) + 0, y: clamp(y, -reach(shown.height, frame.height), reach(shown.height, frame.height)) + 0 };
}

/** The view enlarged by a factor, with what is at `point` (from the frame's centre) staying there. */
export function zoomedAt(view, factor, point, shown, frame) {
  const scale = clamp(view.scale * factor, 1, SCALE_MAX);
  const ratio = scale / view.scale;
  return bounded({ scale, x: point.x - (point.x - view.x) * ratio, y: point.y - (point.y - view.y) * ratio }, shown, frame);
}

/** Which way a key moves what is looked at. */
const ARROWS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

export class Zoom {
  #video;
  #frame;
  #onChange;
  #view = WHOLE;
  #enabled = false;
  #pointers = new Map();
  #lastTap = null;
  #shape = 0;

  /** `frame` receives the gestures. */
  constructor({ video, frame, onChange }) {
    this.#video = video;
    this.#frame = frame;
    this.#onChange = onChange;
    frame.addEventListener('wheel', (event) => this.#wheel(event), { passive: false });
    frame.addEventListener('pointerdown', (event) => this.#down(event));
    frame.addEventListener('pointermove', (event) => this.#move(event));
    for (const type of ['pointerup', 'pointercancel']) frame.addEventListener(type, (event) => this.#up(event));
    frame.addEventListener('keydown', (event) => this.key(event));
  }

  get scale() {
    return this.#view.scale;
  }

  /** Only the large picture takes gestures; one that becomes small is whole again. */
  set enabled(enabled) {
    if (enabled === this.#enabled) return;
    this.#enabled = enabled;
    this.#pointers.clear();
    if (!enabled) this.reset();
  }

  in() {
    this.#by(STEP);
  }

  out() {
    this.#by(1 / STEP);
  }

  reset() {
    this.#set(WHOLE);
  }

  /** The picture or its frame changed size. */
  refit() {
    const { videoWidth, videoHeight } = this.#video;
    if (!videoWidth) return;
    const shape = videoWidth / videoHeight;
    const isOther = this.#shape && Math.abs(shape / this.#shape - 1) > SAME_SHAPE;
    this.#shape = shape;
    if (isOther) this.reset();
    else this.#set(bounded(this.#view, ...this.#sizes()));
  }

  /** Handles + - 0 and the arrow keys. */
  key(event) {
    if (!this.#enabled || event.ctrlKey || event.metaKey || event.altKey) return;
    const arrow = this.scale > 1 && ARROWS[event.key];
    if (event.key === '+' || event.key === '=') this.in();
    else if (event.key === '-') this.out();
    else if (event.key === '0') this.reset();
    else if (arrow) {
      const { clientWidth: width, clientHeight: height } = this.#video;
      this.#pan(arrow[0] * width * PAN_SHARE, arrow[1] * height * PAN_SHARE);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #sizes() {
    const { videoWidth, videoHeight, clientWidth, clientHeight } = this.#video;
    const frame = { width: clientWidth, height: clientHeight };
    return [shownSize({ width: videoWidth || 1, height: videoHeight || 1 }, frame), frame];
  }

  #by(factor, point = { x: 0, y: 0 }) {
    this.#set(zoomedAt(this.#view, factor, point, ...this.#sizes()));
  }

  #pan(x, y) {
    const { scale } = this.#view;
    this.#set(bounded({ scale, x: this.#view.x + x, y: this.#view.y + y }, ...this.#sizes()));
  }

  #set(view) {
    const before = this.#view;
    if (view.scale === before.scale && view.x === before.x && view.y === before.y) return;
    this.#view = view;
    this.#video.style.transform = view.scale > 1 ? `translate(${view.x}px, ${view.y}px) scale(${view.scale})` : '';
    this.#onChange({ isResized: view.scale !== before.scale });
  }

  /** A place on the screen, from the frame's centre. */
  #point({ clientX, clientY }) {
    const box = this.#frame.getBoundingClientRect();
    return { x: clientX - box.left - box.width / 2, y: clientY - box.top - box.height / 2 };
  }

  #wheel(event) {
    if (!this.#enabled) return;
    event.preventDefault();
    const pixels = event.deltaY * (event.deltaMode === WheelEvent.DOM_DELTA_LINE ? WHEEL_LINE_PX : 1);
    this.#by(Math.exp(-pixels * (event.ctrlKey ? PINCH_STEP : WHEEL_STEP)), this.#point(event));
  }

  #down(event) {
    if (!this.#enabled || event.button > 0 || event.target.closest('button')) return;
    this.#pointers.set(event.pointerId, this.#point(event));
    this.#frame.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const before = this.#pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#point(event);
    const other = [...this.#pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.#pointers.set(event.pointerId, now);
    if (!other) {
      if (this.scale > 1) this.#pan(now.x - before.x, now.y - before.y);
      return;
    }
    const distance = ({ x, y }) => Math.max(1, Math.hypot(x - other.x, y - other.y));
    const middle = { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 };
    this.#pan((now.x - before.x) / 2, (now.y - before.y) / 2);
    this.#by(distance(now) / distance(before), middle);
    this.#lastTap = null;
  }

  #up(event) {
    if (!this.#pointers.delete(event.pointerId) || event.type !== 'pointerup' || this.#pointers.size) return;
    const tap = { ...this.#point(event), at: event.timeStamp };
    const last = this.#lastTap;
    const isDouble = last && tap.at - last.at < DOUBLE_TAP_MS && Math.hypot(tap.x - last.x, tap.y - last.y) < TAP_PX;
    this.#lastTap = isDouble ? null : tap;
    if (!isDouble) return;
    if (this.scale > 1) this.reset();
    else this.#by(TAPPED_SCALE, tap);
  }
}
