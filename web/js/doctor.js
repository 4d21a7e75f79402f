// The page of a doctor's day: who has come, who waits since when, and a way into each session.

import { announce, show } from './a11y.js';
import { Attention } from './attention.js';
import { load } from './catalogue.js';
import { DayList } from './doctor-list.js';
import { DayStream } from './doctor-stream.js';
import { byId } from './dom.js';
import { Memory } from './memory.js';

/** How often waiting times are renewed. */
const TICK_MS = 10_000;
/** Screens of the join page on which somebody takes no part, or no longer. */
const OUTSIDE = ['end', 'error'];

const { base, assets, slot, keepaliveMs } = document.documentElement.dataset;
document.documentElement.dataset.started = 'true';
const query = new URLSearchParams({ p: slot });
const texts = await load(assets);
texts.apply();
const title = texts.text('doctor.title');
const attention = new Attention();
const list = new DayList({ texts, enter });
const stream = new DayStream({ events: `${base}/doctor/events?${query}`, page: `${base}/doctor?${query}`, keepaliveMs: Number(keepaliveMs) });

/** The session's tab, if the doctor is in it there. */
function isInside(tab, id) {
  try {
    return tab.location.pathname.endsWith(`/join/${id}`) && !OUTSIDE.includes(tab.document.body.dataset.screen);
  } catch {
    return false;
  }
}

/** Whether there is nothing to ask on the way into a call: the name is known, and the browser has been told to allow the devices. */
async function isReady() {
  if (!document.documentElement.dataset.name) return false;
  try {
    const asked = await Promise.all(['camera', 'microphone'].map((name) => navigator.permissions.query({ name })));
    return asked.every(({ state }) => state === 'granted');
  } catch {
    // Not every browser says.
    return false;
  }
}

/** Opens a session in its own tab, so that the list stays. Returns what went wrong. */
async function enter(id, { isIn }) {
  attention.prepare();
  // Browsers allow it only now, before the answer.
  const tab = window.open('', `consultation-${id}`);
  if (tab && isInside(tab, id)) {
    tab.focus();
    return null;
  }
  const answer = await fetch(`${base}/doctor/enter/${encodeURIComponent(id)}?${query}`, { method: 'POST' }).catch(() => null);
  const body = await answer?.json().catch(() => null);
  if (answer?.ok && body) {
    const there = tab ?? window;
    // Who is in the call elsewhere may be muted there.
    if (!isIn && (await isReady())) new Memory(new URL(body.location, location).searchParams.get('p'), there).save({ isNew: true });
    there.location.assign(body.location);
    tab?.focus();
    return null;
  }
  tab?.close();
  if (answer?.status === 401) stream.end();
  return body ?? { code: 'offline' };
}

function setLive(isLive) {
  const shown = String(isLive);
  if (byId('live').dataset.live === shown && byId('live').textContent) return;
  byId('live').dataset.live = shown;
  byId('live').textContent = texts.text(isLive ? 'doctor.live' : 'doctor.notLive');
  byId('lost').hidden = isLive;
  if (!isLive) announce(texts.text('doctor.lost'));
}

stream.addEventListener('day', ({ detail: day }) => {
  const isFirst = document.body.dataset.screen === 'boot';
  const came = list.show(day);
  if (isFirst) show('day', title);
  for (const name of came) announce(texts.text('doctor.waits.now', { name }));
  if (came.length > 0) attention.call();
});
stream.addEventListener('live', () => setLive(true));
stream.addEventListener('lost', () => {
  if (document.body.dataset.screen === 'boot') show('day', title);
  setLive(false);
});
stream.addEventListener('over', () => {
  attention.release();
  show('over', texts.text('doctor.error.expired.title'));
});

byId('sound-box').hidden = navigator.userActivation?.hasBeenActive ?? false;
// Any tap lets the page sound.
for (const event of ['pointerup', 'keydown']) {
  document.addEventListener(event, () => {
    attention.prepare();
    byId('sound-box').hidden = true;
  }, { once: true });
}
setInterval(() => list.tick(), TICK_MS);
window.addEventListener('pagehide', () => stream.close());
// Restored from the back/forward cache: the stream was closed when the page went there.
window.addEventListener('pageshow', (event) => event.persisted && stream.open());
stream.open();
