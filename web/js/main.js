// From loading the page to the end of the call: which screen, when.

import { load } from './catalogue.js';
import { lasted, showAppointment } from './appointment.js';
import { alert, announce, show } from './a11y.js';
import { config as read } from './config.js';
import { byId, fetchWithin } from './dom.js';
import { fill } from './end.js';
import { fit, observeSize } from './fit.js';
import { LocalMedia, unfit } from './media.js';
import { Memory } from './memory.js';
import { Ready } from './ready.js';

const NAMING_MS = 5000;
const RETRY_MS = 1000;
/** The participant's own video, on each screen. */
const OWN_PICTURES = ['preview', 'waiting-preview', 'self-video'];

// For old.js: this browser understands the page.
document.documentElement.dataset.started = 'true';

const config = read();
const memory = new Memory(config.slot);
const media = new LocalMedia();
let texts;
let ready;
let session = null;
let starting = false;
/** Since when the participant is in the call, by this device's clock. */
let began = null;
/** What the call needs: loaded after the first screen is shown, so that it need not wait for it. */
let callModules;
let followSession = () => {};

const title = (text) => `${text} · ${config.clinic || texts.text('page.title')}`;

async function begin() {
  for (const video of OWN_PICTURES.map(byId)) observeSize(video, () => fit(video));
  texts = await load(config.assets);
  texts.apply();
  showAppointment({ texts, config });
  ready = new Ready({ texts, media, config, onStart: start });
  show('ready', title(texts.text('ready.title')));
  performance.mark('first-screen');
  if (window.parent !== window) connectPortal();
  callModules = Promise.all(['attention', 'call', 'session', 'signalling', 'waiting', 'watch'].map((name) => import(`./${name}.js`)));
  // `start` handles it.
  callModules.catch(() => {});
  // Without the tests, the screen is as good as before.
  callModules.then(() => import('./checks.js')).then(({ Checks }) => ready.addChecks(Checks), () => {});
  const before = memory.recall();
  const reason = unfit();
  if (before && !before.isNew) choose(before);
  if (reason) ready.unfit(reason);
  else if (before && !before.asks) await resume(before);
  else await ready.open();
}

/** Changes the page's language; false if there is none of that name. */
async function speak(language) {
  if (!(await texts.change(config.assets, language))) return false;
  showAppointment({ texts, config });
  // What the screens show beside fixed texts.
  media.dispatchEvent(new Event('change'));
  session?.dispatchEvent(new Event('people'));
  return true;
}

/** The page is in a frame: the portal that shows it may follow it. */
function connectPortal() {
  const connecting = import('./portal.js').then(({ connect }) => connect({ media, speak, obstacle: unfit(), leave: () => session?.leave() }));
  followSession = (followed) => connecting.then((follow) => follow(followed), () => {});
}

function choose({ muted, cameraOff, chosen }) {
  media.muted = muted;
  media.cameraOff = cameraOff;
  Object.assign(media.chosen, chosen);
}

function saveState({ asks = false } = {}) {
  const { muted, cameraOff, chosen } = media;
  memory.save({ muted, cameraOff, chosen, asks, began });
}

/** The page was reloaded during a call: continue as before. Or it is opened for a call: go in, unless a device does not work. */
async function resume(before) {
  began = before.began ?? null;
  if (config.publishes) await media.acquire();
  if (before.isNew && media.failures.length > 0) return ready.open();
  return start();
}

/** The service keeps the name with the session. If it rejects the name, the participant joins without one. */
async function sendName(name) {
  const body = JSON.stringify({ name });
  await fetchWithin(NAMING_MS, config.naming, { method: 'POST', body }).catch(() => {});
}

/** Whether the service can be reached: to load the page again without it would show the browser's error. */
const answers = () => fetch(import.meta.url, { method: 'HEAD', cache: 'no-store' }).then(({ ok }) => ok, () => false);

/** The modules of the call. If one could not be loaded, it is lost to this page: starts it again once the connection is back. */
async function loadCall(name) {
  try {
    const [{ Attention }, { Call }, { Session }, { Signalling }, { Waiting }, { Watch, comeBack }] = await callModules;
    return { Attention, Call, Session, Signalling, Waiting, Watch, comeBack };
  } catch {
    alert(texts.text('call.lost'));
    byId('ready-lead').textContent = texts.text('call.lost');
    while (!(await answers())) await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
    if (name) await sendName(name);
    saveState();
    location.reload();
    return new Promise(() => {});
  }
}

async function start(name) {
  if (starting) return;
  starting = true;
  const { Attention, Call, Session, Signalling, Waiting, Watch, comeBack } = await loadCall(name);
  ready.close();
  const attention = new Attention();
  attention.prepare();
  // A page that went in without a tap may sound from the first one on.
  for (const event of ['pointerup', 'keydown']) document.addEventListener(event, () => attention.prepare(), { once: true });
  attention.hold();
  let hasWaited = false;
  const signalling = new Signalling(config);
  session = new Session({ signalling, media });
  followSession(session);
  const watch = new Watch({ texts, media, session, signalling, slot: config.slot });
  const waiting = new Waiting({ texts, media, publishes: config.publishes, onLeave: () => session.leave() });
  const call = new Call({ texts, media, session });
  const showWaiting = () => {
    // Before `connected`, this shows the connection; afterwards, the reason for waiting.
    waiting.render(session.stage === 'waiting' ? session.reason || 'host-absent' : null, session);
    if (session.stage !== 'call') show('waiting', title(document.getElementById('waiting-title').textContent));
    hasWaited ||= session.stage === 'waiting';
  };
  for (const event of ['knock', 'company']) session.addEventListener(event, () => attention.call());
  for (const event of ['waiting', 'lost', 'back']) session.addEventListener(event, showWaiting);
  session.addEventListener('call', () => {
    show('call', title(texts.text('call.title')));
    call.open();
    announce(texts.text('call.begun'));
    began ??= Date.now();
    if (hasWaited) attention.call();
    hasWaited = false;
  });
  session.addEventListener('over', ({ detail: why }) => {
    call.close();
    watch.close();
    attention.release();
    memory.forget();
    const time = began && lasted(Date.now() - began, { texts, config });
    began = null;
    // After leaving, show the ready screen again; after a lost or replaced connection, rejoin directly.
    const onAgain = () => {
      saveState({ asks: why === 'left' });
      location.replace(config.page);
    };
    show('end', title(fill({ texts, why, role: session.self?.role ?? config.role, time, onAgain })));
    if (['gave-up', 'error.internal'].includes(why)) comeBack(answers, onAgain);
  });
  showWaiting();
  if (name) await sendName(name);
  session.start();
}

window.addEventListener('pagehide', () => {
  if (session && session.stage !== 'over') {
    saveState();
    session.abandon();
  }
  media.stop();
});

// Restored from the back/forward cache: everything was closed when the page went there.
window.addEventListener('pageshow', (event) => event.persisted && location.reload());

begin();
