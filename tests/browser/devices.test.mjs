// Camera, microphone and loudspeaker in the call: refused, missing, interrupted, unplugged, chosen, tested.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, SMALL, Service, Turn, accessible, browser, click, device, goIn, hidden, meet, open, screen, until, visible } from './support.mjs';

const [turn, chromium] = await Promise.all([Turn.start(), browser()]);
const [service, relayed] = await Promise.all([Service.start(), Service.start(turn.env)]);

/** A browser that refuses until `window.allowed`. */
const refusing = `if (navigator.mediaDevices) {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (asked) => (window.allowed ? real(asked) : Promise.reject(new DOMException('', 'NotAllowedError')));
}`;

/** Devices that `window.unplug` takes away and `window.plugIn` brings back, as the browser would tell of it. */
function unpluggable() {
  const devices = navigator.mediaDevices;
  if (!devices) return;
  const gone = new Set();
  const tracks = new Set();
  const [enumerate, ask] = [devices.enumerateDevices.bind(devices), devices.getUserMedia.bind(devices)];
  devices.enumerateDevices = async () => (await enumerate()).filter(({ deviceId }) => !gone.has(deviceId));
  devices.getUserMedia = async (asked) => {
    if (Object.values(asked).some((wish) => gone.has(wish?.deviceId?.exact))) throw new DOMException('', 'OverconstrainedError');
    const stream = await ask(asked);
    for (const track of stream.getTracks()) tracks.add(track);
    return stream;
  };
  const tell = () => devices.dispatchEvent(new Event('devicechange'));
  window.unplug = (id) => {
    gone.add(id);
    for (const track of tracks) {
      if (track.readyState !== 'live' || track.getSettings().deviceId !== id) continue;
      track.stop();
      track.dispatchEvent(new Event('ended'));
    }
    tell();
  };
  window.plugIn = (id) => {
    gone.delete(id);
    tell();
  };
  window.using = (kind) => [...tracks].find((track) => track.kind === kind && track.readyState === 'live')?.getSettings().deviceId;
  /** As a phone does while somebody calls. */
  window.interrupt = (on) => {
    for (const track of tracks) {
      if (track.kind !== 'audio' || track.readyState !== 'live') continue;
      Object.defineProperty(track, 'muted', { configurable: true, get: () => on });
      track.dispatchEvent(new Event(on ? 'mute' : 'unmute'));
    }
  };
}

const noted = (page, text) => until(`the note ${text}`, async () => (await page.getByTestId('note').allTextContents()).some((note) => note.includes(text)));
const chip = (page, text) => until(`the doctor is told: ${text}`, async () => (await page.getByTestId('remote-muted').innerText()) === text && page.getByTestId('remote-muted').isVisible());

test('who was refused is shown what to do, on the first screen and in the call, and the doctor knows', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_OPEN' });
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  const patient = await open(await device(t, chromium, { ...SMALL, script: refusing }), await session.patient());
  await visible(patient, 'help');
  assert.equal(await patient.getByTestId('help').getAttribute('data-browser'), 'chrome');
  assert.equal(await patient.locator('.help-steps svg').count(), 3);
  await click(patient, 'failure-retry');
  await visible(patient, 'help-still');
  assert.equal(await patient.evaluate(() => document.activeElement.dataset.testid), 'failure-retry');
  await accessible(patient, 'help on the first screen');
  await click(patient, 'start');
  await screen(patient, 'call');
  await chip(doctor, 'No microphone');
  await click(patient, 'mute');
  await visible(patient, 'help-dialog');
  await accessible(patient, 'help in the call');
  const inDialog = patient.locator('#help-dialog');
  await inDialog.getByTestId('help-retry').click();
  await inDialog.getByTestId('help-still').waitFor();
  await patient.evaluate(() => (window.allowed = true));
  await inDialog.getByTestId('help-retry').click();
  await inDialog.waitFor({ state: 'detached' });
  await hidden(doctor, 'remote-muted');
});

test('the doctor asks to unmute, and only the patient’s tap does it', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_OPEN' });
  const { doctor, patient } = await meet(t, chromium, session, { patient: SMALL });
  await click(patient, 'mute');
  await chip(doctor, 'Muted');
  await click(doctor, 'people');
  await click(doctor, 'unmute-other');
  await visible(patient, 'asked-dialog');
  assert.match(await patient.locator('#asked-title').textContent(), /Dr\. Ana Ruiz/);
  await accessible(patient, 'asked to unmute');
  assert.ok(await doctor.getByTestId('remote-muted').isVisible(), 'nothing is switched on by itself');
  await click(patient, 'asked-unmute');
  await hidden(patient, 'asked-dialog');
  await hidden(doctor, 'remote-muted');
});

test('a phone call that takes the microphone is told to both, and its end', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_OPEN' });
  const { doctor, patient } = await meet(t, chromium, session, { patient: { script: unpluggable } });
  await patient.evaluate(() => window.interrupt(true));
  await chip(doctor, 'Microphone interrupted');
  await noted(doctor, 'cannot be heard for the moment');
  await noted(patient, 'The others cannot hear you now');
  await patient.evaluate(() => window.interrupt(false));
  await hidden(doctor, 'remote-muted');
  await noted(doctor, 'can be heard again');
  await noted(patient, 'Your microphone works again');
});

test('a device is chosen in the call by keyboard, comes back when it is plugged in, and is remembered', async (t) => {
  const at = await device(t, chromium, { ...PHONE, script: unpluggable });
  const session = await service.session({ admission: 'ADMISSION_OPEN' });
  const patient = await goIn(at, await session.patient());
  await screen(patient, 'call');
  await patient.getByTestId('more').press('Enter');
  await patient.getByTestId('devices-open').press('Enter');
  await visible(patient, 'menu-video');
  const choice = patient.getByTestId('menu-video');
  const first = await patient.evaluate(() => window.using('video'));
  await until('the cameras are listed', async () => (await choice.locator('option').count()) === 2);
  await accessible(patient, 'the devices');
  const second = await choice.locator('option').evaluateAll((options, first) => options.map(({ value }) => value).find((value) => value !== first), first);
  await choice.selectOption(second);
  const uses = (id) => until('the other camera', async () => (await patient.evaluate(() => window.using('video'))) === id);
  await uses(second);
  await patient.keyboard.press('Escape');
  await hidden(patient, 'device-menu');
  assert.equal(await patient.evaluate(() => document.activeElement.id), 'devices-open');

  await patient.evaluate((id) => window.unplug(id), second);
  await uses(first);
  await noted(patient, 'Your camera was disconnected');
  await patient.evaluate((id) => window.plugIn(id), second);
  await uses(second);
  await noted(patient, 'Your camera is connected again');

  await patient.close();
  const next = await open(at, await (await service.session()).patient());
  await until('the same camera in the next consultation', async () => (await next.evaluate(() => window.using('video'))) === second);
});

test('loudspeaker and connection are tested before the call', async (t) => {
  const at = await device(t, chromium, SMALL);
  for (const [where, verdict] of [[service, 'service'], [relayed, 'good']]) {
    const patient = await open(at, await (await where.session()).patient());
    await patient.locator('#checks summary').click();
    await click(patient, 'connection-test');
    const said = patient.getByTestId('connection-said');
    await until(`the verdict ${verdict}`, async () => (await said.getAttribute('data-verdict')) !== null);
    // On a busy machine, even what never leaves it takes long.
    assert.ok([verdict, 'weak'].includes(await said.getAttribute('data-verdict')), await said.textContent());
    if (where === relayed) continue;
    await click(patient, 'speaker-test');
    await click(patient, 'speaker-no');
    assert.match(await patient.getByTestId('speaker-said').textContent(), /Turn up the volume/);
    await accessible(patient, 'the tests');
  }
});

test('microphone and camera are switched while waiting, and the doctor is notified without a name', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_MANUAL' });
  const script = () => {
    window.shown = [];
    window.Notification = class {
      static permission = 'default';
      static requestPermission = async () => (window.Notification.permission = 'granted');
      constructor(title, options) {
        if (window.Notification.permission === 'granted') window.shown.push({ title, ...options });
      }
      close() {}
    };
    document.hasFocus = () => false;
  };
  const doctor = await goIn(await device(t, chromium, { script }), await session.doctor());
  await screen(doctor, 'call');
  await visible(doctor, 'tell-me');
  await accessible(doctor, 'the doctor alone');
  assert.equal(await doctor.evaluate(() => window.Notification.permission), 'default', 'not asked before the tap');
  await click(doctor, 'tell-me');
  await doctor.getByTestId('tell-me').waitFor({ state: 'detached' });
  const patient = await goIn(await device(t, chromium, SMALL), await session.patient());
  await screen(patient, 'waiting');
  const [shown] = await until('a notification', async () => {
    const list = await doctor.evaluate(() => window.shown);
    return list.length > 0 && list;
  });
  assert.doesNotMatch(JSON.stringify(shown), /Rosa|Pérez/);
  await click(patient, 'waiting-mute');
  await click(patient, 'waiting-camera');
  await until('no own picture', () => patient.locator('#waiting-preview').isHidden());
  await accessible(patient, 'waiting');
  await click(doctor, 'knock-admit');
  await screen(patient, 'call');
  await chip(doctor, 'Muted');
  assert.ok(await doctor.locator('.tile-off').isVisible());
});
