// Where the pictures of a call are: one large, the others in a strip beside or below it. Needs no browser.

const GAP_PX = 2;
const SMALL_MIN_PX = { width: 96, height: 72 };
const SMALL_MAX_PX = { width: 256, height: 180 };
/** The part of the stage that a small picture may take, and that the whole strip may take. */
const SMALL_SHARE = 0.2;
const STRIP_SHARE = 0.3;

const clamp = (value, least, most) => Math.min(most, Math.max(least, value));

/** How many small pictures are side by side, and how many rows they fill, if at most `most` fit in one direction. */
function divide(count, most) {
  const lines = Math.ceil(count / Math.max(1, most));
  return { lines, each: Math.ceil(count / lines) };
}

const fitting = (length, least) => Math.floor((length + GAP_PX) / (least + GAP_PX));

/** A strip at the inline end, of as few columns as possible. */
function beside(count, { width, height }) {
  const { lines: columns, each: rows } = divide(count, fitting(height, SMALL_MIN_PX.height));
  const most = Math.min(SMALL_SHARE * width, (STRIP_SHARE * width) / columns);
  const small = clamp(most, Math.min(SMALL_MIN_PX.width, width / (2 * columns)), SMALL_MAX_PX.width);
  const tall = Math.min(small * 0.75, SMALL_MAX_PX.height, (height - GAP_PX * (rows - 1)) / rows);
  const start = width - columns * (small + GAP_PX) + GAP_PX;
  const strip = Array.from({ length: count }, (_, at) => ({
    start: start + Math.floor(at / rows) * (small + GAP_PX),
    top: (at % rows) * (tall + GAP_PX),
    width: small,
    height: tall,
  }));
  return { large: { start: 0, top: 0, width: start - GAP_PX, height }, strip };
}

/** A strip below, of as few rows as possible; each row is centred. */
function below(count, { width, height }) {
  const { lines: rows, each: columns } = divide(count, fitting(width, SMALL_MIN_PX.width));
  const most = Math.min(SMALL_SHARE * height, (STRIP_SHARE * height) / rows);
  const tall = clamp(most, Math.min(SMALL_MIN_PX.height, height / (2 * rows)), SMALL_MAX_PX.height);
  const small = Math.min(SMALL_MAX_PX.width, tall * 1.5, (width - GAP_PX * (columns - 1)) / columns);
  const top = height - rows * (tall + GAP_PX) + GAP_PX;
  const strip = Array.from({ length: count }, (_, at) => {
    const row = Math.floor(at / columns);
    const inRow = Math.min(columns, count - row * columns);
    const start = (width - inRow * (small + GAP_PX) + GAP_PX) / 2;
    return { start: start + (at % columns) * (small + GAP_PX), top: top + row * (tall + GAP_PX), width: small, height: tall };
  });
  return { large: { start: 0, top: 0, width, height: top - GAP_PX }, strip };
}

/** The boxes, in pixels from the stage's inline start and top, of `count` pictures on a stage. */
export function layOut(count, stage) {
  if (count < 2) return { large: { start: 0, top: 0, ...stage }, strip: [] };
  return (stage.width > stage.height ? beside : below)(count - 1, stage);
}

/** The height that is free below a strip at the inline end. */
export function freeBelow({ large, strip }, stage) {
  const isBeside = strip.length > 0 && large.width < stage.width;
  return isBeside ? stage.height - Math.max(...strip.map(({ top, height }) => top + height)) : 0;
}

/**
 * Which picture is large: the pinned one, else a shown screen (the newest), else the speaker, else the one that is. `pictures` are in
 * the order of the call: `{id, userId, screenSince}`.
 */
export function chooseLarge(pictures, { pinned, speaker, before }) {
  const main = pictures.filter(({ isBeside }) => !isBeside);
  const [screen] = main.filter(({ screenSince }) => screenSince).sort((one, other) => other.screenSince - one.screenSince);
  const byId = (id) => pictures.find((picture) => picture.id === id);
  const spoke = main.find(({ userId }) => userId === speaker);
  const chosen = byId(pinned) ?? screen ?? spoke ?? main.find(({ id }) => id === before) ?? main[0];
  return chosen?.id ?? null;
}

/** The size, in pixels of the screen, in which a picture is needed at most. `ratio` is how many of them one of the window's has. */
export function neededSize(window, { isLarge, ratio }) {
  const needed = (side) => (isLarge ? window[side] : Math.min(window[side], SMALL_MAX_PX[side]));
  return { width: Math.round(ratio * needed('width')), height: Math.round(ratio * needed('height')) };
}

/** The corner that is nearest to a point, both within the same box. */
export function nearestCorner({ start, top }, { width, height }) {
  return `${top < height / 2 ? 'top' : 'bottom'}-${start < width / 2 ? 'start' : 'end'}`;
}
