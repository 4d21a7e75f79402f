// Improves the error page if JavaScript is available: the opening time in the local time zone, a countdown, and automatic
// retries. Without it, the page still says everything important.

import { regional } from './appointment.js';
import { load } from './catalogue.js';
import { byId } from './dom.js';

const { code, assets, locale } = document.documentElement.dataset;
// Codes after which the same address may work later, and the wait before an automatic retry; 0: only on request.
const LATER = { 'too-early': 0, 'store-away': 10_000, 'rate-limited': 60_000, internal: 0 };
const JITTER_MS = 3000;
const BETWEEN_MS = 5000;
const LONGEST_MS = 2 ** 31 - 1;
/** Nobody waits for so long before the page. */
const FAR_MS = 2 * 3600_000;

// Without a token or slot, an address always gives the same answer.
const inAddress = new URLSearchParams(location.search);
// Opened in another app's browser and passed on from there, the page's address carries the short link's code.
const passedOn = new URLSearchParams(location.hash.slice(1)).get('j');
if (code === 'missing-token' && passedOn) location.replace(`${document.documentElement.dataset.base}/j/${encodeURIComponent(passedOn)}`);
const again = code in LATER && (inAddress.has('token') || inAddress.has('p'));
const texts = await load(assets);
const language = regional(texts.language, locale);

// Remove the token, even an invalid one, from the address bar and the history.
const address = location.href;
if (inAddress.has('token')) history.replaceState(null, '', location.pathname);

if (window.parent !== window) import('./embedding.js').then(({ Embedding }) => new Embedding().tell('error', { code }), () => {});

/** How far this device's clock is behind the service's. */
async function measureClockSkew() {
  try {
    const answer = await fetch(import.meta.url, { method: 'HEAD', cache: 'no-store' });
    const date = Date.parse(answer.headers.get('date'));
    return Number.isNaN(date) ? 0 : date - Date.now();
  } catch {
    return 0;
  }
}

function retry() {
  location.replace(address);
}

/** Retries automatically, with a growing delay and jitter. */
function scheduleRetry(wait) {
  setTimeout(retry, Math.min(LONGEST_MS, wait + Math.random() * JITTER_MS));
}

/** "3 hours, 1 minute", in the page's language. */
function remaining(ms) {
  if (ms <= 60_000) return texts.text('error.countdown.seconds');
  const minutes = Math.round(ms / 60_000);
  const parts = [[Math.floor(minutes / 1440), 'day'], [Math.floor(minutes / 60) % 24, 'hour'], [minutes % 60, 'minute']];
  const said = parts
    .filter(([count]) => count > 0)
    .slice(0, 2)
    .map(([count, unit]) => new Intl.NumberFormat(language, { style: 'unit', unit, unitDisplay: 'long' }).format(count));
  return texts.text('error.countdown', { time: new Intl.ListFormat(language, { type: 'unit' }).format(said) });
}

/** A time, with its date unless it is near, and with the device's time zone. */
function said(moment) {
  const near = Math.abs(moment - Date.now()) < 20 * 3600_000;
  const style = near ? { timeStyle: 'short' } : { dateStyle: 'full', timeStyle: 'short' };
  const zone = new Intl.DateTimeFormat(language, { timeZoneName: 'short' }).formatToParts(moment);
  return `${new Intl.DateTimeFormat(language, style).format(moment)} (${zone.find((part) => part.type === 'timeZoneName').value})`;
}

async function countDown(opensAt) {
  byId('opens-at').textContent = said(opensAt);
  const offset = await measureClockSkew();
  const countdown = byId('countdown');
  const loaded = Date.now();
  let going = true;
  const tick = () => {
    const left = opensAt - (Date.now() + offset);
    const text = left > 0 ? remaining(left) : texts.text('error.open-now');
    if (countdown.textContent !== text) countdown.textContent = text;
    countdown.hidden = false;
    if (left > 0 || !again || !going) return;
    going = false;
    // Different clocks must not make the page reload in a loop.
    scheduleRetry(Math.max(0, BETWEEN_MS - (Date.now() - loaded)));
  };
  tick();
  setInterval(tick, 1000);
}

const opensAt = Date.parse(byId('opens').dataset.opensAt);
if (!Number.isNaN(opensAt)) countDown(opensAt);
// Days ahead, there is nothing to try again.
const isFar = opensAt - Date.now() > FAR_MS;
if (isFar) byId('calendar').firstElementChild.className = 'button';
const startsAt = Date.parse(byId('starts').dataset.startsAt);
if (!Number.isNaN(startsAt)) byId('starts-at').textContent = said(startsAt);
if (again && !isFar) {
  byId('retry').textContent = texts.text('error.retry');
  byId('retry').addEventListener('click', retry);
  byId('retry-box').hidden = false;
  if (LATER[code]) scheduleRetry(LATER[code]);
}
