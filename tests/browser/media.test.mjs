// Each way in which a camera or a microphone can fail has its own words, and a way on.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SMALL, Service, accessible, browser, click, device, goIn, open, screen, seen, until, visible } from './support.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);

/** getUserMedia that fails as a browser's does when what it is asked for meets a condition. */
const failing = (name, condition) => `if (navigator.mediaDevices) {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = (asked) => (${condition})(asked) ? Promise.reject(new DOMException('', '${name}')) : real(asked);
}`;

const CASES = [
  ['permission refused', failing('NotAllowedError', '() => true'), 'refused', 'Join without camera and microphone'],
  ['permission refused by the device', "if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('Permission denied by system', 'NotAllowedError'));", 'refused-system', 'Join without camera and microphone'],
  ['no camera', failing('NotFoundError', '({ video }) => video'), 'missing-camera', 'Join with sound only'],
  ['no microphone', failing('NotFoundError', '({ audio }) => audio'), 'missing-microphone', 'Join with video only'],
  ['neither', failing('NotFoundError', '() => true'), 'missing', 'Join without camera and microphone'],
  ['camera in use', failing('NotReadableError', '({ video }) => video'), 'busy-camera', 'Join with sound only'],
  ['microphone in use', failing('NotReadableError', '({ audio }) => audio'), 'busy-microphone', 'Join with video only'],
  ['something unheard of', failing('UnknownError', '({ video }) => video'), 'failed-camera', 'Join with sound only'],
  ['address not secure', "Object.defineProperty(window, 'isSecureContext', { value: false });", 'insecure', 'Join without camera and microphone'],
];

for (const [what, script, failure, way] of CASES) {
  test(what, async (t) => {
    const session = await service.session({ admission: 'ADMISSION_OPEN' });
    const doctor = await goIn(await device(t, chromium), await session.doctor());
    const patient = await open(await device(t, chromium, { ...SMALL, script }), await session.patient());
    await visible(patient, `failure-${failure}`);
    assert.equal(await patient.locator('.failure').count(), 1);
    assert.equal(await patient.getByTestId('start').textContent(), way);
    // Permission can be given here and now, so that is the large button.
    const isRefused = failure.startsWith('refused');
    assert.equal(await patient.locator('.failure .primary[data-testid=failure-retry]').count(), isRefused ? 1 : 0);
    assert.equal(await patient.locator('#start.primary').count(), isRefused ? 0 : 1);
    await accessible(patient, what);
    // And on: the doctor is seen all the same.
    await click(patient, 'start');
    await screen(patient, 'call');
    await seen(patient);
    const sound = /sound only|^Join$/.test(way);
    const sight = /video only|^Join$/.test(way);
    await until('the doctor knows', async () => (await doctor.getByTestId('remote-muted').isVisible()) === !sound);
    assert.equal(await doctor.locator('.tile-off').isVisible(), !sight);
  });
}

test('wishes that cannot be met are dropped', async (t) => {
  const session = await service.session();
  const script = failing('OverconstrainedError', '({ video }) => typeof video === "object"');
  const patient = await open(await device(t, chromium, { ...SMALL, script }), await session.patient());
  await until('own picture', () => patient.getByTestId('preview').evaluate((video) => video.videoWidth > 0));
  assert.equal(await patient.locator('.failure').count(), 0);
  assert.equal(await patient.getByTestId('start').textContent(), 'Join');
});

test('trying again after allowing', async (t) => {
  const session = await service.session();
  const script = failing('NotAllowedError', '() => !window.allowed');
  const patient = await open(await device(t, chromium, { ...SMALL, script }), await session.patient());
  await visible(patient, 'failure-refused');
  await patient.evaluate(() => (window.allowed = true));
  await click(patient, 'failure-retry');
  await until('own picture', () => patient.getByTestId('preview').evaluate((video) => video.videoWidth > 0));
  assert.equal(await patient.locator('.failure').count(), 0);
  assert.equal(await patient.locator('#start.primary').count(), 1);
});

test('a browser that is too old', async (t) => {
  const session = await service.session();
  const patient = await open(await device(t, chromium, { ...SMALL, script: 'delete window.RTCPeerConnection;' }), await session.patient());
  await visible(patient, 'failure-unsupported');
  assert.equal(await patient.getByTestId('start').isVisible(), false);
  await accessible(patient, 'too old');
});

test('a frame that does not pass camera and microphone on', async (t) => {
  const session = await service.session();
  const script = "Object.defineProperty(document, 'featurePolicy', { value: { allowsFeature: () => false } }); Object.defineProperty(document, 'permissionsPolicy', { value: undefined });";
  const patient = await open(await device(t, chromium, { ...SMALL, script }), await session.patient());
  await visible(patient, 'failure-blocked');
  await visible(patient, 'failure-action');
});

test('a browser that refuses to play by itself', async (t) => {
  const session = await service.session();
  const script = `{
    const real = HTMLMediaElement.prototype.play;
    let touched = false;
    document.addEventListener('click', ({ target }) => (touched ||= target.id === 'play'), true);
    HTMLMediaElement.prototype.play = function () {
      return touched || this.muted ? real.call(this) : Promise.reject(new DOMException('', 'NotAllowedError'));
    };
  }`;
  await goIn(await device(t, chromium), await session.doctor());
  const patient = await goIn(await device(t, chromium, { ...SMALL, script }), await session.patient());
  await visible(patient, 'play');
  await click(patient, 'play');
  await seen(patient);
});

test('the microphone’s level moves, and another device can be chosen', async (t) => {
  const session = await service.session();
  const patient = await open(await device(t, chromium), await session.patient());
  await until('a level', async () => Number(await patient.getByTestId('mic-level').getAttribute('aria-valuenow')) > 0);
  await patient.getByTestId('devices').locator('summary').click();
  const cameras = await patient.getByTestId('camera-choice').locator('option').all();
  assert.equal(cameras.length, 2);
  await patient.getByTestId('camera-choice').selectOption({ index: 1 });
  const second = await cameras[1].getAttribute('value');
  await until('the other camera', () => patient.getByTestId('preview').evaluate((video, id) => video.srcObject?.getVideoTracks()[0]?.getSettings().deviceId === id, second));
});
