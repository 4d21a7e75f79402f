// The page of a doctor's day, in a real browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { today } from '../../web/js/doctor-stream.js';
import { DESKTOP, PHONE, SMALL, Service, accessible, browser, click, device, goIn, hidden, open, picture, screen, seen, start, until, visible } from './support.mjs';

const [chromium, service] = await Promise.all([browser(), Service.start({ DOCTOR_EVENTS_KEEPALIVE_SECS: '1', DOCTOR_LIST_INTERVAL_SECS: '1' })]);

const LYING = { viewport: { width: 844, height: 390 } };
const MINUTE_MS = 60_000;
const inMinutes = (minutes) => new Date(Date.now() + minutes * MINUTE_MS).toISOString();

test('the list has a day, and at night the whole night', () => {
  const hours = (zone, time) => {
    process.env.TZ = zone;
    const now = new Date(time);
    const { from, to, changes } = today(now);
    return [from, to, changes].map((at) => (at - now) / 3_600_000);
  };
  const zone = process.env.TZ;
  const day = '2026-11-23';
  assert.deepEqual(hours('Europe/Berlin', `${day}T12:00`), [-12, 12, 8]);
  assert.deepEqual(hours('Europe/Berlin', `${day}T19:30`), [-19.5, 4.5, 0.5]);
  assert.deepEqual(hours('Europe/Berlin', `${day}T20:00`), [-20, 8, 4]);
  assert.deepEqual(hours('Europe/Berlin', `${day}T23:30`), [-23.5, 4.5, 0.5]);
  assert.deepEqual(hours('Europe/Berlin', `${day}T00:00`), [-4, 24, 4]);
  assert.deepEqual(hours('Europe/Berlin', `${day}T03:30`), [-7.5, 20.5, 0.5]);
  assert.deepEqual(hours('Europe/Berlin', `${day}T04:00`), [-4, 20, 16]);
  // Clocks are set back an hour in the night before, two in Troll; in Santiago, the day begins at one o'clock.
  assert.deepEqual(hours('Europe/Berlin', '2026-10-25T12:00'), [-13, 12, 8]);
  assert.deepEqual(hours('Antarctica/Troll', '2026-10-25T23:00'), [-25, 5, 1]);
  assert.deepEqual(hours('America/Santiago', '2026-09-06T12:00'), [-11, 12, 8]);
  if (zone) process.env.TZ = zone;
  else delete process.env.TZ;
});

async function link(user_id, more = {}) {
  return (await service.rpc('CreateDoctorLink', { user_id, display_name: 'Dr. Ana Ruiz', ...more })).doctorUrl;
}

/** Notes played by the page. */
function script() {
  window.notes = 0;
  const { start } = OscillatorNode.prototype;
  OscillatorNode.prototype.start = function counted(...when) {
    window.notes += 1;
    return start.apply(this, when);
  };
}

const row = (page, session) => page.locator(`[data-session="${session.id}"]`);

async function enter(page, session) {
  const opened = page.waitForEvent('popup');
  await row(page, session).getByTestId('enter').click();
  return opened;
}

test('a doctor sees a patient knock, and is in the call with one click', async (t) => {
  const session = await service.session();
  const page = await open(await device(t, chromium, { script }), await link('doctor-1'));
  await screen(page, 'day');
  assert.equal(new URL(page.url()).searchParams.has('token'), false);
  await page.waitForFunction(() => document.getElementById('live').dataset.live === 'true');
  await row(page, session).getByText('Nobody is there yet.').waitFor();
  assert.ok(await page.getByTestId('old-browser').isHidden());
  await click(page, 'sound');
  await hidden(page, 'sound');

  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  await screen(patient, 'waiting');
  await row(page, session).getByText(/^Waiting/).waitFor();
  assert.equal(await row(page, session).getByTestId('session-who').textContent(), 'Rosa Pérez');
  await until('a sound for the doctor', () => page.evaluate(() => window.notes > 0));
  assert.doesNotMatch(await page.content(), /doctor-1|patient-1/);

  const call = await enter(page, session);
  await call.waitForURL(/join/);
  await screen(call, 'call');
  await Promise.all([seen(call), seen(patient)]);
  await row(page, session).getByText('In the call: Rosa Pérez and You').waitFor();
  assert.equal(new URL(call.url()).searchParams.has('token'), false);

  // Pressed again, by keyboard, it finds the tab again, and does not disturb the call.
  await call.evaluate(() => (window.stays = true));
  await row(page, session).getByTestId('enter').focus();
  await page.keyboard.press('Enter');
  await until('the button is free', () => row(page, session).getByTestId('enter').isEnabled());
  assert.equal(await call.evaluate(() => window.stays && document.body.dataset.screen), 'call');
  // In another tab than the list's, they may be muted: that one is not taken over without a look.
  await call.evaluate(() => (window.name = ''));
  const other = await enter(page, session);
  await other.waitForURL(/join/);
  await screen(other, 'ready');
  assert.deepEqual(await other.evaluate(() => Object.keys(sessionStorage).filter((key) => key.startsWith('video-session:'))), [], 'nothing lets it in by itself');
  await session.end('over');
  await visible(page, 'ended');
  await row(page, session).waitFor({ state: 'hidden' });
});

test('the list says when it is not live, and goes on by itself', async (t) => {
  const doctor = { doctor_id: 'doctor-2' };
  await service.session(doctor);
  const at = await device(t, chromium);
  const page = await open(at, await link('doctor-2'));
  await screen(page, 'day');
  await service.stop('SIGKILL');
  await visible(page, 'lost');
  assert.equal(await page.evaluate(() => document.getElementById('live').dataset.live), 'false');
  await service.run();
  await hidden(page, 'lost');
  const later = await service.session(doctor);
  await row(page, later).waitFor();
});

test('a doctor whose browser would ask for the camera gets ready first', async (t) => {
  const session = await service.session({ doctor_id: 'doctor-5' });
  const asks = () => (navigator.permissions.query = async () => ({ state: 'prompt' }));
  const page = await open(await device(t, chromium, { script: asks }), await link('doctor-5'));
  await row(page, session).waitFor();
  const call = await enter(page, session);
  await call.waitForURL(/join/);
  await start(call);
  const named = await service.session({ doctor_id: 'doctor-5' });
  await named.patient('Rosa Pérez');
  await row(page, named).getByText('Rosa Pérez').waitFor();
});

/** A time zone in which it is this hour now. */
function zoneAt(hour) {
  const east = (hour - new Date().getUTCHours() + 24) % 24;
  // POSIX has the signs the other way round, and zones from 12 hours west to 14 east.
  return east <= 14 ? `Etc/GMT-${east}` : `Etc/GMT+${24 - east}`;
}

test('midnight does not part a night: what comes after it and what was before it are in the list', async (t) => {
  const own = { doctor_id: 'doctor-6' };
  const [before, after, tomorrow] = await Promise.all([[-150, -90], [90, 150], [1500, 1530]].map(([from, to]) =>
    service.session({ ...own, scheduled_start_time: inMinutes(from), scheduled_end_time: inMinutes(to) })));
  for (const hour of [23, 0, 12]) {
    const page = await open(await device(t, chromium, { timezoneId: zoneAt(hour) }), await link('doctor-6'));
    for (const session of [before, after]) await row(page, session).waitFor({ state: 'attached' });
    const time = await row(page, hour === 0 ? before : after).getByTestId('session-time').textContent();
    assert.match(time, hour === 12 ? /^\d\d:\d\d–/ : /^(Mon|Tue|Wed|Thu|Fri|Sat|Sun) \d\d:\d\d–/, `the other day at ${hour}`);
    assert.equal(await row(page, tomorrow).count(), 0, `at ${hour}`);
  }
  // A page that stays open until the evening gets the night, too, however long the device slept.
  const night = await service.session({ ...own, scheduled_start_time: inMinutes(900), scheduled_end_time: inMinutes(930) });
  const page = await open(await device(t, chromium, { timezoneId: zoneAt(12) }), await link('doctor-6'));
  await row(page, after).waitFor();
  assert.equal(await row(page, night).count(), 0, 'it is after midnight');
  await page.clock.setFixedTime(Date.now() + 510 * MINUTE_MS);
  await row(page, night).waitFor();
});

test('it is accessible and readable, in light and dark, from phone to desktop', async (t) => {
  const own = { doctor_id: 'doctor-3' };
  const waited = await service.session({ ...own, scheduled_start_time: inMinutes(5), scheduled_end_time: inMinutes(20) });
  const ended = await service.session(own);
  const begun = await service.session({ ...own, scheduled_start_time: inMinutes(-10), scheduled_end_time: inMinutes(15) });
  const later = await service.session({ ...own, scheduled_start_time: inMinutes(30), scheduled_end_time: inMinutes(45) });
  for (const [one, display_name] of [[begun, 'Ida Berg'], [later, 'Karl Lindner']]) {
    await one.rpc('JoinSession', { role: 'ROLE_PATIENT', user_id: 'patient-1', display_name, before_window: true });
  }
  await ended.rpc('EndSession', { reason: 'over' });
  await goIn(await device(t, chromium, PHONE), await waited.patient('Wolfeschlegelsteinhausenbergerdorff-Pérez'));
  const url = await link('doctor-3');
  const page = await open(await device(t, chromium, { hasTouch: true, timezoneId: zoneAt(12) }), url);
  await screen(page, 'day');
  await row(page, waited).getByText(/^Waiting/).waitFor();
  await row(page, later).getByText('Karl Lindner').waitFor();
  assert.match(await row(page, later).getByTestId('session-time').textContent(), /^\d\d:\d\d–\d\d:\d\d$/);
  await page.getByTestId('ended').locator('summary').click();
  for (const [name, { viewport }] of Object.entries({ desktop: DESKTOP, phone: PHONE, lying: LYING, small: SMALL })) {
    await page.setViewportSize(viewport);
    await accessible(page, `the day, ${name}`);
    if (['phone', 'desktop'].includes(name)) await picture(page, `doctor-${name}`);
  }
  const broken = await open(await device(t, chromium, PHONE), `${url}x`);
  await visible(broken, 'error-title');
  assert.match(await broken.getByTestId('error-todo').textContent(), /from your system/);
  await accessible(broken, 'a link that is not valid');
});

test('a page whose link has expired says so', async (t) => {
  const page = await open(await device(t, chromium), await link('doctor-4', { ttl: '10s' }));
  await screen(page, 'over');
  await accessible(page, 'the end of the link');
});
