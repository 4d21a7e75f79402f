// Two people in a call, each on an instance of their own; the instances share MongoDB's protocol and Redis.
// `VIDEO_SESSION_INSTANCES=2 npm test` runs all the other tests in this way, too.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, Service, browser, click, device, ended, goIn, hidden, lit, meet, screen, seen, until, visible } from './support.mjs';

const [chromium, service] = await Promise.all([browser(), Service.start({}, { instances: 2 })]);

/** They are where they should be: without this, the tests below would pass on one instance. */
function apart(doctor, patient) {
  assert.equal(new URL(doctor.url()).origin, service.url);
  assert.equal(new URL(patient.url()).origin, service.other.url);
}

test('two participants on two instances see and hear each other', async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  apart(doctor, patient);
  assert.ok((await lit(patient)) > 0.5 && (await lit(doctor)) > 0.5, 'the pictures are not black');
  for (const page of [doctor, patient]) {
    t.diagnostic(`${Math.round(await seen(page))} frames a second`);
    const heard = await page.evaluate(async () => {
      const context = new AudioContext();
      const analyser = context.createAnalyser();
      context.createMediaStreamSource(document.querySelector('[data-testid=remote-video]').srcObject).connect(analyser);
      const samples = new Float32Array(analyser.fftSize);
      for (let tries = 0; tries < 200; tries += 1) {
        analyser.getFloatTimeDomainData(samples);
        if (samples.some((sample) => Math.abs(sample) > 0.01)) return true;
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      return false;
    });
    assert.ok(heard, 'one hears the other');
  }
});

test('mute and reactions cross instances, and mute can be asked for', async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  apart(doctor, patient);
  await click(doctor, 'react');
  await click(doctor, 'reaction-heart');
  await visible(patient, 'emoji');
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted');
  await click(patient, 'mute');
  await hidden(doctor, 'remote-muted');
  await click(doctor, 'people');
  await click(doctor, 'mute-other');
  await visible(doctor, 'remote-muted');
});

test('one who waits on another instance is admitted, and reloads in the middle', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_MANUAL' });
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  apart(doctor, patient);
  await screen(patient, 'waiting');
  await visible(doctor, 'knock');
  await click(doctor, 'knock-admit');
  await Promise.all([seen(patient), seen(doctor)]);
  for (const page of [patient, doctor]) {
    await page.reload();
    await screen(page, 'call');
    await Promise.all([seen(patient), seen(doctor)]);
  }
});

test('removal and end cross instances at once', async (t) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  await click(doctor, 'people');
  await click(doctor, 'remove');
  await click(doctor, 'remove-confirm');
  await ended(patient, 'removed');
  await until('nobody else is there', async () => (await doctor.getByTestId('remote').count()) === 0);
  const again = await goIn(patient.context(), await session.patient());
  await Promise.all([seen(again), seen(doctor)]);
  await session.end('the appointment was cancelled');
  await Promise.all([ended(doctor, 'ended'), ended(again, 'ended')]);
});

test('a call outlives Redis, and removal still arrives', async (t) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  await service.redis.kill();
  await Promise.all([seen(patient), seen(doctor)]);
  // Without Redis their pages cannot find each other again; with it, they do by themselves.
  await patient.reload();
  await screen(patient, 'call');
  await service.redis.run();
  await Promise.all([seen(patient, { within: 30_000 }), seen(doctor, { within: 30_000 })]);
  await service.redis.kill();
  await click(doctor, 'people');
  await click(doctor, 'remove');
  await click(doctor, 'remove-confirm');
  await ended(patient, 'removed');
  await service.redis.run();
});
