// Networks that fail, services that restart, and a second device.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { DESKTOP, PHONE, Service, Wire, browser, click, device, ended, goIn, hidden, loseMedia, meet, received, screen, seen, until, visible } from './support.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);

/** A doctor, and a patient whose network can be cut: the way to the service, and the media. */
async function meetOverWire(t) {
  const session = await service.session();
  const wire = await Wire.to(t, service.url);
  const doctor = await goIn(await device(t, chromium, DESKTOP), await session.doctor());
  const patient = await goIn(await device(t, chromium, PHONE), wire.link(await session.patient()));
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await Promise.all([seen(patient), seen(doctor)]);
  const cut = async () => {
    wire.cut();
    await loseMedia(patient, true);
  };
  const mend = async () => {
    wire.mend();
    await loseMedia(patient, false);
  };
  return { doctor, patient, cut, mend };
}

test('a network that is away for five seconds', async (t) => {
  const { doctor, patient, cut, mend } = await meetOverWire(t);
  await cut();
  await sleep(5000);
  await mend();
  const mended = Date.now();
  await Promise.all([seen(patient, { within: 30_000 }), seen(doctor, { within: 30_000 })]);
  await hidden(patient, 'lost', 30_000);
  t.diagnostic(`back ${Date.now() - mended} ms after the network`);
  assert.equal(await doctor.getByTestId('remote').count(), 1, 'the doctor was not disturbed');
  // What is said now arrives.
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted', 30_000);
});

test('a network that is away for sixty seconds', { timeout: 180_000 }, async (t) => {
  const { doctor, patient, cut, mend } = await meetOverWire(t);
  await cut();
  const before = Date.now();
  await visible(patient, 'lost', 20_000);
  t.diagnostic(`the loss was shown after ${Date.now() - before} ms`);
  await until('the doctor is told', async () => (await doctor.getByTestId('remote').count()) === 0, 25_000);
  t.diagnostic(`the patient was gone for the doctor after ${Date.now() - before} ms`);
  await sleep(Math.max(0, 60_000 - (Date.now() - before)));
  await mend();
  const mended = Date.now();
  await hidden(patient, 'lost', 30_000);
  await Promise.all([seen(patient, { within: 30_000 }), seen(doctor, { within: 30_000 })]);
  t.diagnostic(`back ${Date.now() - mended} ms after the network`);
});

test('the service restarts in the middle, and media goes on', async (t) => {
  const own = await Service.start();
  const { doctor, patient } = await meet(t, chromium, await own.session());
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    await own.stop(signal);
    await Promise.all([visible(doctor, 'lost'), visible(patient, 'lost')]);
    const before = (await received(patient)).frames;
    await sleep(2000);
    assert.ok((await received(patient)).frames > before + 10, `media goes on after ${signal}`);
    await own.run();
    const started = Date.now();
    await Promise.all([hidden(doctor, 'lost'), hidden(patient, 'lost')]);
    t.diagnostic(`${signal}: both back ${Date.now() - started} ms after the start`);
    // Longer than anybody is missed for.
    await sleep(22_000);
    for (const page of [doctor, patient]) {
      await screen(page, 'call');
      assert.equal(await page.getByTestId('remote').count(), 1);
      await seen(page);
    }
    await click(patient, 'mute');
    await until('what is said arrives', async () => (await doctor.getByTestId('remote-muted').isVisible()) === (signal === 'SIGTERM'));
  }
});

test('a second tab takes over, and the first can take it back', async (t) => {
  const session = await service.session();
  const { doctor, patient: first } = await meet(t, chromium, session);
  const second = await goIn(first.context(), await session.patient());
  await screen(second, 'call');
  await ended(first, 'replaced');
  await Promise.all([seen(second), seen(doctor)]);
  assert.equal(await doctor.getByTestId('remote').count(), 1);
  await first.bringToFront();
  await click(first, 'again');
  await screen(first, 'ready');
  await click(first, 'start');
  await ended(second, 'replaced');
  await Promise.all([seen(first), seen(doctor)]);
});

test('a page that is closed is missed within twenty seconds', { timeout: 60_000 }, async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  const closed = Date.now();
  await patient.close();
  await until('the doctor is told', async () => (await doctor.getByTestId('remote').count()) === 0, 20_000);
  t.diagnostic(`gone after ${Date.now() - closed} ms`);
});
