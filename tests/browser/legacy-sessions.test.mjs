// Backends of the Telemedicine Video Call Service, and the page that their links lead to. Tests have the numbers of the list by which
// that service was known; its other lines are tested in tests/api/legacy/sessions.rs.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';

import { PHONE, SECRET, Service, browser, click, device, ended, hidden, lit, open, received, resign, screen, seen, start, until, visible } from './support.mjs';

const [chromium, service] = await Promise.all([browser(), Service.start({ LEGACY_APIS: 'sessions', LEGACY_ADDR: '127.0.0.1:0' })]);

async function post(path, body) {
  const headers = { 'X-Internal-Secret': SECRET, 'Content-Type': 'application/json' };
  const answer = await fetch(`http://${service.addresses.legacy_addr}${path}`, { method: 'POST', headers, body: JSON.stringify(body) });
  assert.equal(answer.status, 200);
  return answer.json();
}

async function create() {
  const { sessionId } = await post('/sessions', { appointmentId: `appointment-${randomUUID()}`, doctorId: 'doctor-1', patientId: 'patient-1' });
  const link = async (role, userId) => (await post(`/sessions/${sessionId}/join`, { role, userId })).joinUrl;
  return { sessionId, doctor: () => link('doctor', 'doctor-1'), patient: () => link('patient', 'patient-1') };
}

/** The older API has no names, so the page asks for them. */
async function enter(at, link, name) {
  const page = await open(at, link);
  await screen(page, 'ready');
  await page.getByLabel('Your name').fill(name);
  await start(page);
  return page;
}

async function meet(t) {
  const session = await create();
  const patient = await enter(await device(t, chromium, PHONE), await session.patient(), 'Rosa Pérez');
  const doctor = await enter(await device(t, chromium), await session.doctor(), 'Dr. Ana Ruiz');
  await Promise.all([seen(doctor), seen(patient)]);
  return { session, doctor, patient };
}

test('line 10: the page opens from its link only', async (t) => {
  const [session, other] = [await create(), await create()];
  const link = await session.patient();
  const at = await device(t, chromium, PHONE);
  await screen(await open(at, link), 'ready');
  const anHourAgo = Math.floor(Date.now() / 1000) - 3600;
  for (const [status, address] of [
    [401, link.split('?')[0]],
    [401, resign(link, {}, 'not the secret of this service, but another')],
    [401, resign(link, { exp: anHourAgo })],
    [403, link.replace(session.sessionId, other.sessionId)],
  ]) {
    const { answer } = await open(await device(t, chromium), address);
    assert.equal(answer.status(), status, address.split('?')[0]);
  }
});

test('lines 11 to 14: pictures, mute, camera, and leaving', async (t) => {
  const { doctor, patient } = await meet(t);
  assert.ok((await lit(patient)) > 0.5 && (await lit(doctor)) > 0.5, 'line 11: the pictures are not black');
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted');
  await click(patient, 'mute');
  await hidden(doctor, 'remote-muted');
  await click(patient, 'camera');
  await doctor.locator('.tile-off').waitFor();
  await click(patient, 'camera');
  await doctor.locator('.tile-off').waitFor({ state: 'hidden' });
  await seen(doctor);
  await click(patient, 'leave');
  await ended(patient, 'left');
  await until('the doctor is alone', async () => (await received(doctor)) === null);
});

test('line 15: the doctor mutes the patient and ends the call for both; the patient can do neither', async (t) => {
  const { doctor, patient } = await meet(t);
  await click(doctor, 'people');
  await visible(doctor, 'end-all');
  for (const command of ['people', 'end-all', 'mute-other']) assert.equal(await patient.locator(`[data-testid=${command}]:visible`).count(), 0);
  await click(doctor, 'mute-other');
  await visible(doctor, 'remote-muted');
  await click(doctor, 'end-all');
  await click(doctor, 'end-confirm');
  await Promise.all([ended(patient, 'ended-by-host'), ended(doctor, 'ended-by-you')]);
});

test('line 16: a camera that is refused is explained, and can be tried again', async (t) => {
  const script = `if (navigator.mediaDevices) {
    const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (asked) => window.allowed ? real(asked) : Promise.reject(new DOMException('', 'NotAllowedError'));
  }`;
  const session = await create();
  const page = await open(await device(t, chromium, { ...PHONE, script }), await session.patient());
  await visible(page, 'failure-refused');
  await page.evaluate(() => { window.allowed = true; });
  await click(page, 'failure-retry');
  await until('the failure is gone', async () => (await page.locator('.failure').count()) === 0);
});
