// A phone's screen stays on, and who waits, or is waited for, is called back to the page.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, Service, browser, click, device, ended, goIn, screen, start, until } from './support.mjs';

const [chromium, service] = await Promise.all([browser(), Service.start()]);

/** Browsers without a screen have no lock for it and play nothing: notes what the page asks for. */
function script() {
  window.locks = [];
  const request = async () => {
    const lock = { released: false, release: async () => void (lock.released = true) };
    window.locks.push(lock);
    return lock;
  };
  Object.defineProperty(navigator, 'wakeLock', { value: { request } });
  window.notes = 0;
  const { start } = OscillatorNode.prototype;
  OscillatorNode.prototype.start = function counted(...when) {
    window.notes += 1;
    return start.apply(this, when);
  };
  window.away = (hidden) => {
    Object.defineProperty(document, 'hidden', { configurable: true, get: () => hidden });
    document.dispatchEvent(new Event('visibilitychange'));
  };
}

const held = (page) => page.evaluate(() => window.locks.some(({ released }) => !released));
const rang = (page, what) => until(what, () => page.evaluate(() => window.notes > 0));

test('a patient who waits keeps the screen on, and is called when the doctor comes', async (t) => {
  const session = await service.session();
  const patient = await goIn(await device(t, chromium, { ...PHONE, script }), await session.patient());
  await screen(patient, 'waiting');
  assert.ok(await held(patient), 'the screen stays on');
  assert.equal(await patient.evaluate(() => window.notes), 0);
  await patient.evaluate(() => window.away(true));
  await goIn(await device(t, chromium), await session.doctor());
  await screen(patient, 'call');
  await rang(patient, 'a sound for the patient');
  assert.match(await patient.title(), /^● /);
  await patient.evaluate(() => window.away(false));
  assert.doesNotMatch(await patient.title(), /●/);
  assert.ok(await held(patient));
  await session.end('over');
  await ended(patient, 'ended');
  await until('the screen may go off', async () => !(await held(patient)));
});

test('who is alone in the call is called when the other comes, or comes back', async (t) => {
  const session = await service.session();
  const doctor = await goIn(await device(t, chromium, { script }), await session.doctor());
  await screen(doctor, 'call');
  await doctor.evaluate(() => window.away(true));
  const patient = await goIn(await device(t, chromium, { ...PHONE, script }), await session.patient());
  await rang(doctor, 'a sound for the doctor, in the admission of most sessions');
  assert.match(await doctor.title(), /^● /);
  await doctor.evaluate(() => window.away(false));
  await screen(patient, 'call');
  assert.equal(await patient.evaluate(() => window.notes), 0, 'nobody came to them');
  await click(doctor, 'leave');
  await click(doctor, 'leave-only');
  await screen(doctor, 'end');
  await click(doctor, 'again');
  await start(doctor);
  await rang(patient, 'a sound for the patient who was told to wait');
});

test('a doctor in another tab is called when somebody knocks', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_MANUAL' });
  const doctor = await goIn(await device(t, chromium, { script }), await session.doctor());
  await screen(doctor, 'call');
  await doctor.evaluate(() => window.away(true));
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  await rang(doctor, 'a sound for the doctor');
  assert.match(await doctor.title(), /^● /);
  await doctor.evaluate(() => window.away(false));
  await click(doctor, 'knock-admit');
  await screen(patient, 'call');
});
