// Creates and finds elements. Text from the server becomes text nodes only.

const SVG = 'http://www.w3.org/2000/svg';

export const byId = (id) => document.getElementById(id);

/** An element with properties, and children that are nodes or plain text. */
export function el(tag, { testid, dataset, label, on, ...properties } = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  if (testid) element.dataset.testid = testid;
  if (dataset) Object.assign(element.dataset, dataset);
  if (label) element.setAttribute('aria-label', label);
  for (const [event, handler] of Object.entries(on ?? {})) element.addEventListener(event, handler);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** Sets a control button's icon and text. Touches only what changed, because screen readers announce changes. */
export function face(button, name, text) {
  if (button.dataset.icon !== name || button.textContent !== text) {
    button.dataset.icon = name;
    button.replaceChildren(icon(name), el('span', {}, text));
  }
}

/** Sets or clears the stream of a video element. */
export function attach(video, stream) {
  if (video.srcObject !== stream) video.srcObject = stream;
}

/** Fetches, for so long at most. `AbortSignal.timeout` is missing in browsers that the page works in. */
export async function fetchWithin(ms, address, options = {}) {
  const away = new AbortController();
  const timer = setTimeout(() => away.abort(), ms);
  try {
    return await fetch(address, { ...options, signal: away.signal });
  } finally {
    clearTimeout(timer);
  }
}
