// Networks that fail, services that restart, and a second device.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { DESKTOP, PHONE, Service, Turn, Wire, accessible, browser, click, device, ended, freePort, goIn, hidden, meet, received, screen, seen, until, visible } from './support.mjs';

const [service, chromium, turn] = await Promise.all([Service.start(), browser(), Turn.start()]);
// A page over the wire has another origin than the service's own.
const wirePort = await freePort();
const relayed = await Service.start({ ...turn.env, HTTP_ALLOWED_ORIGINS: `http://127.0.0.1:${wirePort}` });

/** A doctor, and a patient whose network can be cut: the way to the service, and that of the media. */
async function meetOverWires(t) {
  const session = await relayed.session();
  const wires = [await Wire.to(t, relayed.url, wirePort), await Wire.to(t, `http://127.0.0.1:${turn.port}`)];
  const doctor = await goIn(await device(t, chromium, DESKTOP), await session.doctor());
  const patient = await goIn(await device(t, chromium, { ...PHONE, script: turn.through(wires[1]) }), wires[0].link(await session.patient()));
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await Promise.all([seen(patient), seen(doctor)]);
  const cut = async () => {
    for (const wire of wires) wire.cut();
    await until('no media comes through', async () => {
      const before = (await received(patient)).frames;
      await sleep(1000);
      return (await received(patient)).frames === before;
    });
  };
  const mend = () => {
    for (const wire of wires) wire.mend();
  };
  const slow = (delayMs) => wires[1].slow(delayMs);
  return { doctor, patient, cut, mend, slow };
}

test('a poor connection is seen by both, and so is that it is good again', async (t) => {
  const { doctor, patient, slow } = await meetOverWires(t);
  slow(500);
  await Promise.all([visible(doctor, 'remote-poor', 30_000), visible(patient, 'remote-poor', 30_000)]);
  assert.equal(await doctor.getByTestId('remote').count(), 1);
  slow(0);
  await Promise.all([hidden(doctor, 'remote-poor', 30_000), hidden(patient, 'remote-poor', 30_000)]);
  await Promise.all([seen(doctor), seen(patient)]);
});

test('a network that is away for five seconds', async (t) => {
  const { doctor, patient, cut, mend } = await meetOverWires(t);
  await cut();
  // With what cut() takes, about five seconds.
  await sleep(4000);
  mend();
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
  const { doctor, patient, cut, mend } = await meetOverWires(t);
  await cut();
  const before = Date.now();
  await visible(patient, 'lost');
  t.diagnostic(`the loss was shown after ${Date.now() - before} ms`);
  await until('the doctor is told', async () => (await doctor.getByTestId('remote').count()) === 0, 40_000);
  t.diagnostic(`the patient was gone for the doctor after ${Date.now() - before} ms`);
  await sleep(Math.max(0, 60_000 - (Date.now() - before)));
  mend();
  const mended = Date.now();
  await hidden(patient, 'lost', 30_000);
  await Promise.all([seen(patient, { within: 30_000 }), seen(doctor, { within: 30_000 })]);
  t.diagnostic(`back ${Date.now() - mended} ms after the network`);
});

for (const [when, goOn] of [
  ['when asked', (patient) => click(patient, 'again')],
  ['when the device is online again', (patient) => patient.evaluate(() => window.dispatchEvent(new Event('online')))],
]) {
  test(`a service that stays away: the page gives up and says what to do, and goes on ${when}`, async (t) => {
    const own = await Service.start();
    const session = await own.session();
    const at = await device(t, chromium, PHONE);
    await at.clock.install();
    const patient = await goIn(at, await session.patient());
    await screen(patient, 'waiting');
    await Promise.all([own.stop(), own.other?.stop()]);
    await visible(patient, 'waiting-lost');
    // Two minutes, in leaps of the page's clock.
    await until('it gives up', async () => {
      await patient.clock.fastForward(10_000);
      return patient.evaluate(() => document.body.dataset.screen === 'end');
    }, 60_000);
    await ended(patient, 'gave-up');
    assert.match(await patient.getByTestId('end-todo').textContent(), /Wi-Fi|mobile data/);
    await Promise.all([own.run(), own.other?.run()]);
    await goOn(patient);
    await screen(patient, 'waiting');
  });
}

test('no way through for media: both are told, and what may help', { timeout: 240_000 }, async (t) => {
  // A TURN server that is not there, and no other way allowed.
  const own = await Service.start({ TURN_URLS: `turn:127.0.0.1:${await freePort()}?transport=tcp`, TURN_SECRET: 'nobody-asks-for-it', ICE_POLICY: 'relay' });
  const session = await own.session();
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  for (const page of [patient, doctor]) {
    await until('the page says so', async () => /mobile data/.test((await page.getByTestId('remote-state').textContent({ timeout: 60_000 })) ?? ''), 60_000);
    await accessible(page, 'no way through');
  }
});

test('the service restarts in the middle, and media goes on', async (t) => {
  const own = await Service.start();
  const { doctor, patient } = await meet(t, chromium, await own.session());
  for (const signal of ['SIGTERM', 'SIGKILL']) {
    await Promise.all([own.stop(signal), own.other?.stop(signal)]);
    await Promise.all([visible(doctor, 'lost'), visible(patient, 'lost')]);
    await seen(patient);
    await visible(patient, 'lost');
    await Promise.all([own.run(), own.other?.run()]);
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
  await screen(first, 'call');
  await ended(second, 'replaced');
  await Promise.all([seen(first), seen(doctor)]);
});

test('a page that is closed is soon missed', { timeout: 180_000 }, async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  const closed = Date.now();
  await patient.close();
  await until('the doctor is told', async () => (await doctor.getByTestId('remote').count()) === 0);
  t.diagnostic(`gone after ${Date.now() - closed} ms`);
});
