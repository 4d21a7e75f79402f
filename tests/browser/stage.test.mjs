// The stage: who is large, looking closer, one's own picture, a still of somebody's.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';

import { PHONE, Service, accessible, browser, click, device, goIn, hidden, meet, screen, seen, until, visible } from './support.mjs';

const code = (name) => import(`../../web/js/${name}.js`);
const [{ chooseLarge, freeBelow, layOut, nearestCorner, neededSize }, { Speakers }, { SCALE_MAX, WHOLE, bounded, shownSize, zoomedAt }, { cornerTowards }, { fileName }] = await Promise.all(['layout', 'speakers', 'zoom', 'selfview', 'still'].map(code));

// --- without a browser ------------------------------------------------------------------------------------------------

const STAGES = { small: [320, 490], phone: [390, 770], lying: [844, 315], 'desktop at 200 %': [640, 320], tablet: [820, 1100], desktop: [1280, 722], large: [1920, 1002] };

test('on every screen, up to eight pictures are on the stage, apart, and one is by far the largest', () => {
  for (const [name, [width, height]] of Object.entries(STAGES)) {
    for (let count = 1; count <= 8; count += 1) {
      const what = `${count} pictures, ${name}`;
      const { large, strip } = layOut(count, { width, height });
      const boxes = [large, ...strip];
      assert.equal(boxes.length, count, what);
      for (const [at, box] of boxes.entries()) {
        assert.ok(box.start >= 0 && box.top >= 0 && box.start + box.width <= width + 0.01 && box.top + box.height <= height + 0.01, `${what}: ${JSON.stringify(box)} is not on the stage`);
        const needed = neededSize({ width, height }, { isLarge: box === large, ratio: 1 });
        assert.ok(box.width <= needed.width + 0.5 && box.height <= needed.height + 0.5, `${what}: a picture of ${JSON.stringify(needed)} is too coarse for ${JSON.stringify(box)}`);
        assert.ok(box.width >= 80 && box.height >= 60, `${what}: ${JSON.stringify(box)} is too small`);
        for (const other of boxes.slice(at + 1)) {
          const isApart = box.start + box.width <= other.start || other.start + other.width <= box.start || box.top + box.height <= other.top || other.top + other.height <= box.top;
          assert.ok(isApart, `${what}: ${JSON.stringify([box, other])} overlap`);
        }
      }
      assert.ok(large.width * large.height >= 0.5 * width * height, `${what}: the large one is too small`);
      if (count === 1) assert.deepEqual(large, { start: 0, top: 0, width, height });
    }
  }
  assert.equal(freeBelow(layOut(1, { width: 1280, height: 722 }), { width: 1280, height: 722 }), 0);
  assert.equal(freeBelow(layOut(3, { width: 390, height: 770 }), { width: 390, height: 770 }), 0, 'a strip below leaves no room');
  assert.ok(freeBelow(layOut(3, { width: 1280, height: 722 }), { width: 1280, height: 722 }) > 300);
});

test('the chosen picture is large, else the newest screen, else the speaker, else the one that was', () => {
  const pictures = [{ id: 'a', userId: 'a' }, { id: 'b', userId: 'b', screenSince: 5 }, { id: 'b beside', userId: 'b', isBeside: true }, { id: 'c', userId: 'c', screenSince: 9 }];
  assert.equal(chooseLarge(pictures, { pinned: 'a', speaker: 'b' }), 'a');
  assert.equal(chooseLarge(pictures, { pinned: 'b beside', speaker: 'a' }), 'b beside');
  assert.equal(chooseLarge(pictures, { speaker: 'a', before: 'a' }), 'c');
  const faces = pictures.map(({ screenSince, ...rest }) => rest);
  assert.equal(chooseLarge(faces, { speaker: 'b', before: 'a' }), 'b');
  assert.equal(chooseLarge(faces, { pinned: 'gone', speaker: 'gone', before: 'c' }), 'c');
  assert.equal(chooseLarge(faces, { before: 'gone' }), 'a');
  assert.equal(chooseLarge([], {}), null);
});

test('the stage goes to who speaks for a while, and stays there while they speak', () => {
  const speakers = new Speakers();
  let nowMs = 0;
  const listen = (levels, times = 1) => {
    let speaking;
    for (let time = 0; time < times; time += 1) speaking = speakers.take(new Map(Object.entries(levels)), (nowMs += 250));
    return speaking;
  };
  assert.deepEqual([...listen({ ann: 0.2, bob: 0.001 })], ['ann'], 'the ring comes at once');
  listen({ ann: 0.001, bob: 0.001 }, 5);
  assert.equal(speakers.current, null, 'a cough does not move the stage');
  listen({ ann: 0.2, bob: 0 }, 5);
  listen({ ann: 0, bob: 0 }, 2);
  listen({ ann: 0.2, bob: 0 }, 1);
  assert.equal(speakers.current, 'ann', 'a short pause is part of speech');
  listen({ ann: 0.2, bob: 0.9 }, 20);
  assert.equal(speakers.current, 'ann', 'who interrupts waits');
  listen({ ann: 0, bob: 0.9 }, 5);
  assert.equal(speakers.current, 'bob');
  listen({ ann: 0, bob: 0 }, 20);
  assert.equal(speakers.current, 'bob', 'silence moves nothing');
  listen({ ann: 0.2 }, 7);
  assert.equal(speakers.current, 'ann', 'who has left gives way');
});

test('a picture is enlarged within limits, around the place that was pointed at', () => {
  const frame = { width: 1000, height: 500 };
  const shown = shownSize({ width: 450, height: 900 }, frame);
  assert.deepEqual(shown, { width: 250, height: 500 });
  assert.equal(bounded({ scale: 100, x: 0, y: 0 }, shown, frame).scale, SCALE_MAX);
  assert.deepEqual(bounded({ scale: 0.2, x: 50, y: 50 }, shown, frame), WHOLE);
  // Narrower than its frame still, it is not moved sideways; no edge comes farther in than the frame's.
  assert.deepEqual(bounded({ scale: 2, x: 900, y: -900 }, shown, frame), { scale: 2, x: 0, y: -250 });
  const point = { x: 20, y: -40 };
  const view = zoomedAt(WHOLE, 5, point, shown, frame);
  const place = ({ scale, x, y }) => ({ x: (point.x - x) / scale, y: (point.y - y) / scale });
  assert.deepEqual(view.scale, 5);
  assert.ok(Math.abs(place(view).x - point.x) < 0.001 && Math.abs(place(view).y - point.y) < 0.001, JSON.stringify(view));
  assert.deepEqual(zoomedAt(view, 0.01, point, shown, frame), WHOLE, 'and back to the whole');
});

test('corners, and the name of a still', () => {
  const stage = { width: 400, height: 600 };
  assert.equal(nearestCorner({ start: 150, top: 500 }, stage), 'bottom-start');
  assert.equal(nearestCorner({ start: 390, top: 10 }, stage), 'top-end');
  assert.equal(cornerTowards('bottom-end', 'ArrowUp', false), 'top-end');
  assert.equal(cornerTowards('bottom-end', 'ArrowLeft', false), 'bottom-start');
  assert.equal(cornerTowards('bottom-end', 'ArrowLeft', true), 'bottom-end');
  assert.equal(fileName(new Date(2026, 0, 2, 3, 4, 5)), 'still-2026-01-02-030405.png');
});

// --- in the browser ---------------------------------------------------------------------------------------------------

// Few frames: three people in one browser are much work for a loaded machine.
const [chromium, service] = await Promise.all([browser('--use-fake-device-for-media-stream=device-count=1,fps=5'), Service.start()]);

const level = (page) => page.locator('.tile.large video').evaluate((video) => new DOMMatrix(getComputedStyle(video).transform).a);
const isLarge = (page, name) => page.locator('.tile.large [data-testid=remote-name]').textContent().then((text) => text === name);
const said = (page, pattern) => until(`it is said: ${pattern}`, async () => pattern.test(await page.getByTestId('status').textContent()));

/** From now on, keeps a page's notes, which go after some seconds. Returns what waits for one. */
async function collectNotes(page) {
  await page.evaluate(() => {
    window.noted = [];
    new MutationObserver((changes) => window.noted.push(...changes.flatMap(({ addedNodes }) => [...addedNodes].map((node) => node.textContent)))).observe(document.getElementById('notes'), { childList: true });
  });
  return (text) => until(`a note: ${text}`, () => page.evaluate((wanted) => window.noted.includes(wanted), text));
}

/** Whether an element covers another one. */
const covers = (page, one, other) => page.evaluate((selectors) => {
  const [a, b] = selectors.map((selector) => document.querySelector(selector).getBoundingClientRect());
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
}, [one, other]);

test('a picture is looked at closely: by wheel, keys, double click and buttons', async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  const { x, y, width, height } = await doctor.locator('.tile.large').boundingBox();
  await doctor.mouse.move(x + width / 4, y + height / 3);
  await doctor.mouse.wheel(0, -500);
  await until('enlarged by the wheel', async () => (await level(doctor)) > 2);
  await said(doctor, /Enlarged to \d+ percent/);
  await accessible(doctor, 'enlarged');
  const fit = await doctor.getByTestId('remote-video').evaluate((video) => getComputedStyle(video).objectFit);
  assert.equal(fit, 'contain', 'nothing is cut off while enlarged');
  const place = () => doctor.getByTestId('remote-video').evaluate((video) => new DOMMatrix(getComputedStyle(video).transform).e);
  const before = await place();
  await doctor.mouse.down();
  await doctor.mouse.move(x + width / 4 - 80, y + height / 3, { steps: 3 });
  await doctor.mouse.up();
  assert.ok(Math.abs(before - 80 - (await place())) < 1, 'dragged by as much as the pointer');
  await click(doctor, 'picture-whole');
  assert.equal(await level(doctor), 1);
  await said(doctor, /whole picture/);
  assert.equal(await doctor.evaluate(() => document.activeElement.dataset.testid), 'picture-in', 'the focus is not lost with its button');
  for (const key of ['+', '+', 'ArrowLeft']) await doctor.keyboard.press(key);
  assert.ok((await level(doctor)) > 2 && (await place()) > 0, 'by keys');
  await doctor.keyboard.press('0');
  assert.equal(await level(doctor), 1);
  await doctor.mouse.dblclick(x + width / 2, y + height / 2);
  assert.equal(await level(doctor), 2.5);
  await doctor.mouse.dblclick(x + width / 2, y + height / 2);
  assert.equal(await level(doctor), 1);
  // On a phone, by two fingers.
  const touch = await patient.context().newCDPSession(patient);
  const fingers = (type, ...points) => touch.send('Input.dispatchTouchEvent', { type, touchPoints: points.map(([px, py], id) => ({ x: px, y: py, id })) });
  await fingers('touchStart', [180, 300], [220, 300]);
  for (const apart of [40, 60, 80]) await fingers('touchMove', [200 - apart, 300], [200 + apart, 300]);
  await fingers('touchEnd');
  await until('enlarged by pinching', async () => (await level(patient)) > 3);
  assert.equal(await patient.evaluate(() => visualViewport.scale), 1, 'the page itself is not');
});

test('one’s own picture goes to any corner, covers no button, and can be hidden', async (t) => {
  const { doctor } = await meet(t, chromium, await service.session());
  const corner = () => doctor.getByTestId('self').getAttribute('data-corner');
  await doctor.getByTestId('self-move').focus();
  for (const [key, expected] of [['ArrowUp', 'top-end'], ['ArrowLeft', 'top-start'], ['ArrowDown', 'bottom-start']]) {
    await doctor.keyboard.press(key);
    assert.equal(await corner(), expected);
    for (const other of ['#bar', '#tools', '.tile.large .tile-label']) assert.equal(await covers(doctor, '#self', other), false, `${expected} and ${other}`);
  }
  await said(doctor, /bottom left/);
  const box = await doctor.getByTestId('self').boundingBox();
  await doctor.mouse.move(box.x + box.width / 2, box.y + box.height / 2);
  await doctor.mouse.down();
  await doctor.mouse.move(1100, 100, { steps: 4 });
  await doctor.mouse.up();
  assert.equal(await corner(), 'top-end', 'dragged');
  await click(doctor, 'self-toggle');
  await hidden(doctor, 'self-video');
  await accessible(doctor, 'without one’s own picture');
  await doctor.reload();
  await seen(doctor);
  assert.equal(await doctor.getByTestId('self-video').isVisible(), false, 'remembered');
  await click(doctor, 'self-toggle');
  await visible(doctor, 'self-video');
  assert.equal(await corner(), 'top-end');
});

/** A browser with a small window, on whose system the camera's background can be blurred. */
function offering() {
  Object.defineProperty(document, 'pictureInPictureEnabled', { value: true });
  window.handlers = {};
  navigator.mediaSession.setActionHandler = (name, handler) => (window.handlers[name] = handler);
  window.small = [];
  HTMLVideoElement.prototype.requestPictureInPicture = async function open() {
    window.small.push(this.closest('.tile').className);
  };
  const { getCapabilities } = MediaStreamTrack.prototype;
  MediaStreamTrack.prototype.getCapabilities = function capable() {
    return { ...getCapabilities.call(this), ...(this.kind === 'video' ? { backgroundBlur: [true, false] } : {}) };
  };
  MediaStreamTrack.prototype.applyConstraints = async function apply(constraints) {
    window.applied = constraints;
  };
}

test('a small window by a button and when the tab is left, and the camera’s own blur', async (t) => {
  const { doctor } = await meet(t, chromium, await service.session(), { doctor: { script: offering } });
  await click(doctor, 'small-window');
  await doctor.evaluate(() => window.handlers.enterpictureinpicture());
  const small = await doctor.evaluate(() => window.small);
  assert.equal(small.length, 2);
  for (const tile of small) assert.match(tile, /large/);
  await click(doctor, 'blur');
  await until('the camera is told', () => doctor.evaluate(() => window.applied?.backgroundBlur?.exact === true));
  await click(doctor, 'blur');
  await until('and told again', () => doctor.evaluate(() => window.applied?.backgroundBlur?.exact === false));
});

/** A microphone into which somebody speaks without a pause. */
const SPEAKING = `if (navigator.mediaDevices) {
  const real = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (asked) => {
    const stream = await real(asked);
    const context = new AudioContext();
    const [voice, out] = [context.createOscillator(), context.createMediaStreamDestination()];
    voice.connect(out);
    voice.start();
    for (const track of stream.getAudioTracks()) stream.removeTrack(track);
    if (asked.audio) stream.addTrack(out.stream.getAudioTracks()[0]);
    return stream;
  };
}`;

test('three people and a screen: one large, the others in a strip, the presenter beside', async (t) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  // Chromium's microphones beep.
  for (const page of [doctor, patient]) await click(page, 'mute');
  const interpreter = await goIn(await device(t, chromium, { ...PHONE, script: SPEAKING }), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await Promise.all(['Rosa Pérez', 'Ivo'].map((name) => seen(doctor, { name })));
  await until('who speaks is large', () => isLarge(doctor, 'Ivo'));
  assert.equal(await doctor.locator('.tile.speaking').count(), 1);
  await click(doctor, 'pin');
  assert.ok(await isLarge(doctor, 'Rosa Pérez'), 'who is chosen is large, whoever speaks');
  const noted = await collectNotes(patient);
  await click(interpreter, 'more');
  await interpreter.getByTestId('share').evaluate((button) => (button.hidden = false));
  await click(interpreter, 'share');
  await until('the patient sees the screen', () => patient.locator('.tile.large [data-testid=remote-screen]').isVisible());
  await until('and the presenter beside it', () => patient.getByTestId('beside-video').evaluate((video) => video.videoWidth > 0 && video.getVideoPlaybackQuality().totalVideoFrames > 5).catch(() => false));
  assert.equal(await patient.locator('.tile').count(), 3);
  await noted('Ivo shows their screen.');
  await accessible(patient, 'a screen');
  for (const [width, height] of [[844, 390], [820, 1180], [1920, 1080]]) {
    await patient.setViewportSize({ width, height });
    for (const other of ['#bar', '#tools', '.tile.large .tile-label']) {
      await until(`one’s own picture clear of ${other} on ${width}×${height}`, async () => !(await covers(patient, '#self', other)));
    }
    assert.ok(await patient.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `${width}×${height}`);
  }
  await patient.setViewportSize(PHONE.viewport);
  assert.ok(await isLarge(doctor, 'Rosa Pérez'), 'for the doctor, the chosen one stays large');
  await doctor.getByTestId('picture-pin').focus();
  await doctor.keyboard.press('Enter');
  await until('the screen, once nobody is chosen', () => isLarge(doctor, 'Ivo'));
  await click(interpreter, 'stop-share');
  await noted('Ivo no longer shows their screen.');
  await until('and the camera is one picture again', async () => (await patient.locator('.tile').count()) === 2);
  await seen(patient, { name: 'Ivo' });
});

test('a still is taken where the clinic allows it, by the host, and only when the other was told', async (t) => {
  const allowing = await Service.start({ PAGE_STILLS: 'true' });
  t.after(() => allowing.stop());
  const { doctor, patient } = await meet(t, chromium, await allowing.session());
  for (const page of [doctor, patient]) await click(page, 'mute');
  await doctor.mouse.move(300, 300);
  await visible(doctor, 'picture-still');
  await patient.touchscreen.tap(150, 300);
  assert.equal(await patient.getByTestId('picture-still').isVisible(), false, 'hosts only');
  const [told, noted] = await Promise.all([patient, doctor].map(collectNotes));
  await click(doctor, 'picture-still');
  await told('Dr. Ana Ruiz took a still picture of your video.');
  await visible(doctor, 'still-save');
  await accessible(doctor, 'a still');
  const [download] = await Promise.all([doctor.waitForEvent('download'), click(doctor, 'still-save')]);
  assert.match(download.suggestedFilename(), /^still-\d{4}-\d\d-\d\d-\d{6}\.png$/);
  const png = await readFile(await download.path());
  const { width, height } = await doctor.getByTestId('remote-video').evaluate((video) => ({ width: video.videoWidth, height: video.videoHeight }));
  assert.deepEqual([png.readUInt32BE(16), png.readUInt32BE(20)], [width, height], 'in full resolution');
  await click(doctor, 'still-discard');
  // Nobody can be told of it: no picture.
  await doctor.evaluate(() => {
    const { send } = WebSocket.prototype;
    WebSocket.prototype.send = () => {};
    window.sendAgain = () => (WebSocket.prototype.send = send);
  });
  await doctor.mouse.move(310, 310);
  await click(doctor, 'picture-still');
  await noted('No still picture was taken. Please try again.');
  assert.equal(await doctor.getByTestId('still-save').count(), 0);
  // One that is not saved yet is on the last screen, too.
  await doctor.evaluate(() => window.sendAgain());
  await doctor.mouse.move(300, 300);
  await click(doctor, 'picture-still');
  await visible(doctor, 'still-save');
  await click(doctor, 'leave');
  await click(doctor, 'leave-only');
  await screen(doctor, 'end');
  await accessible(doctor, 'a still on the last screen');
  const asksBeforeLeaving = () => doctor.evaluate(() => !window.dispatchEvent(new Event('beforeunload', { cancelable: true })));
  assert.equal(await asksBeforeLeaving(), true);
  await Promise.all([doctor.waitForEvent('download'), click(doctor, 'still-save')]);
  assert.equal(await asksBeforeLeaving(), false);
});
