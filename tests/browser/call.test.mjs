// Two people, and more, in a call: directly, and through TURN.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, Service, Turn, browser, click, device, ended, goIn, hidden, lit, meet, received, screen, seen, until, visible } from './support.mjs';

const [chromium, turn] = await Promise.all([browser(), Turn.start()]);
const services = { directly: await Service.start(), 'through TURN': await Service.start(turn.env) };

/** A test for each way that media can take. */
function both(what, run) {
  for (const [way, service] of Object.entries(services)) test(`${what}, ${way}`, (t) => run(t, service));
}

/** A test of what the way of the media does not change. */
const once = (what, run) => test(what, (t) => run(t, services.directly));

both('two participants see each other', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  assert.ok((await lit(patient)) > 0.5 && (await lit(doctor)) > 0.5, 'the pictures are not black');
  for (const page of [doctor, patient]) t.diagnostic(`${Math.round(await seen(page))} frames a second`);
  const heard = await doctor.evaluate(async () => {
    const context = new AudioContext();
    const analyser = context.createAnalyser();
    context.createMediaStreamSource(document.querySelector('[data-testid=remote-video]').srcObject).connect(analyser);
    const samples = new Float32Array(analyser.fftSize);
    for (let tries = 0; tries < 100; tries += 1) {
      analyser.getFloatTimeDomainData(samples);
      if (samples.some((sample) => Math.abs(sample) > 0.01)) return true;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    return false;
  });
  assert.ok(heard, 'the doctor hears the patient');
  assert.equal(await patient.getByTestId('remote-name').textContent(), 'Dr. Ana Ruiz');
});

once('the address holds no token once the page is open', async (t, service) => {
  const session = await service.session();
  const page = await goIn(await device(t, chromium), await session.patient());
  assert.ok(!page.url().includes('token'), page.url());
  assert.ok(!(await page.content()).includes('eyJ'), 'no token in the page');
  assert.equal(await page.evaluate(() => document.cookie), '');
  assert.equal(await page.evaluate(() => document.referrer), '');
  // Nor does the history: what comes before the page is what came before the link.
  await page.goBack();
  assert.equal(page.url(), 'about:blank');
});

both('mute is seen by the other, and can be asked for', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted');
  await click(patient, 'mute');
  await hidden(doctor, 'remote-muted');
  await click(doctor, 'people');
  await click(doctor, 'mute-other');
  await visible(doctor, 'remote-muted');
  assert.match(await patient.getByTestId('note').last().textContent(), /has muted you/);
  assert.equal(await patient.getByTestId('mute').textContent(), 'Unmute');
});

both('a camera that is off is really off, and comes back', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await click(patient, 'camera');
  await doctor.locator('.tile-off').waitFor();
  await until('no frames come any more', async () => {
    const before = (await received(doctor)).frames;
    await doctor.waitForTimeout(1000);
    return (await received(doctor)).frames === before;
  });
  assert.equal(await patient.getByTestId('self-video').evaluate((video) => video.srcObject), null);
  await click(patient, 'camera');
  await doctor.locator('.tile-off').waitFor({ state: 'hidden' });
  await seen(doctor);
});

once('the other camera of a phone', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await click(patient, 'more');
  await click(patient, 'flip');
  await seen(doctor);
});

both('a screen is shown, also without a camera', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await click(doctor, 'camera');
  await patient.locator('.tile-off').waitFor();
  await click(doctor, 'share');
  await visible(doctor, 'sharing');
  await patient.locator('.tile-off').waitFor({ state: 'hidden' });
  await seen(patient);
  await click(doctor, 'stop-share');
  await patient.locator('.tile-off').waitFor();
});

once('a reaction rises over the picture of whoever sent it', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await click(doctor, 'react');
  await click(doctor, 'reaction-heart');
  await visible(patient, 'emoji');
  await until('it is said, too', async () => (await patient.getByTestId('status').textContent()) === 'Dr. Ana Ruiz: Heart');
});

both('an interpreter is the third', async (t, service) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  const interpreter = await goIn(await device(t, chromium, PHONE), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await screen(interpreter, 'call');
  const all = { 'Dr. Ana Ruiz': doctor, 'Rosa Pérez': patient, Ivo: interpreter };
  for (const [own, page] of Object.entries(all)) {
    for (const name of Object.keys(all)) if (name !== own) await seen(page, { name });
  }
  await click(interpreter, 'leave');
  await ended(interpreter, 'left');
  for (const page of [doctor, patient]) {
    await until('the interpreter is gone', async () => (await page.getByTestId('remote').count()) === 1);
    await seen(page);
  }
});

both('an observer sees, is seen to watch, and sends nothing', async (t, service) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  const observer = await goIn(await device(t, chromium), await session.invite('ROLE_OBSERVER', 'Olga'));
  await screen(observer, 'call');
  for (const name of ['Dr. Ana Ruiz', 'Rosa Pérez']) await seen(observer, { name });
  for (const page of [doctor, patient]) {
    await visible(page, 'observer');
    assert.equal(await page.getByTestId('observer').textContent(), 'Olga (watching)');
    assert.equal(await page.getByTestId('remote').count(), 1);
  }
  assert.equal(await observer.getByTestId('mute').isVisible(), false);
});

both('a page that is loaded again in the middle goes on by itself', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted');
  for (const page of [patient, doctor]) {
    await page.reload();
    await screen(page, 'call');
    await Promise.all([seen(patient), seen(doctor)]);
  }
  // Muted before is muted after, and the doctor's new page knows.
  assert.equal(await patient.getByTestId('mute').textContent(), 'Unmute');
  await visible(doctor, 'remote-muted');
});

both('both load the page again at once', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await Promise.all([patient.reload(), doctor.reload()]);
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await Promise.all([seen(patient), seen(doctor)]);
});

once('opening the link twice, and going back, is no harm', async (t, service) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  await patient.goto('about:blank');
  await patient.goBack();
  // A minute is not over: the page goes on by itself.
  await screen(patient, 'call');
  await Promise.all([seen(patient), seen(doctor)]);
  const link = await session.patient();
  await patient.goto(link);
  await patient.goto(link);
  await screen(patient, 'call');
  await Promise.all([seen(patient), seen(doctor)]);
});

once('two participants in one browser', async (t, service) => {
  const session = await service.session();
  const context = await device(t, chromium);
  const doctor = await goIn(context, await session.doctor());
  const patient = await goIn(context, await session.patient());
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await patient.bringToFront();
  await seen(patient);
  await doctor.bringToFront();
  await seen(doctor);
});

/** Keeps what the page gets of the devices. */
function keeping() {
  window.captured = [];
  const devices = navigator.mediaDevices;
  const real = devices?.getUserMedia.bind(devices);
  if (!real) return;
  devices.getUserMedia = async (asked) => {
    const stream = await real(asked);
    window.captured.push(...stream.getTracks());
    return stream;
  };
}

once('leaving turns everything off, and one can come back', async (t, service) => {
  const { doctor, patient } = await meet(t, chromium, await service.session(), { patient: { script: keeping } });
  const kinds = await patient.evaluate(() => [...new Set(window.captured.map((track) => track.kind))]);
  assert.deepEqual(kinds.sort(), ['audio', 'video']);
  await click(patient, 'leave');
  await ended(patient, 'left');
  assert.deepEqual(await patient.evaluate(() => window.captured.filter((track) => track.readyState !== 'ended')), []);
  await until('the doctor is told', async () => (await doctor.getByTestId('remote').count()) === 0);
  await click(patient, 'again');
  await screen(patient, 'ready');
  await click(patient, 'start');
  await Promise.all([seen(patient), seen(doctor)]);
});

once('by keyboard alone', async (t, service) => {
  const { doctor } = await meet(t, chromium, await service.session());
  const focused = () => doctor.evaluate(() => document.activeElement.dataset.testid ?? document.activeElement.id);
  assert.equal(await focused(), 'call-title', 'the focus followed to the call');
  const reached = [];
  for (let presses = 0; presses < 10; presses += 1) {
    await doctor.keyboard.press('Tab');
    reached.push(await focused());
  }
  assert.deepEqual(reached, ['mute', 'camera', 'share', 'devices-open', 'react', 'hand', 'small-window', 'shortcuts', 'people', 'leave']);
  await doctor.getByTestId('people').focus();
  await doctor.keyboard.press('Enter');
  await visible(doctor, 'panel');
  await doctor.keyboard.press('Escape');
  await hidden(doctor, 'panel');
  assert.equal(await focused(), 'people');
});
