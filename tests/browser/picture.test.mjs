// Pictures are sent as the camera has them and shown whole: a wound may be at the edge.

import assert from 'node:assert/strict';
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { test } from 'node:test';

import { DESKTOP, PHONE, Service, browser, click, device, goIn, open, screen, seen, start, until, visible } from './support.mjs';

const service = await Service.start();
/** At most so much of a picture may be cut off. */
const CUT_MAX = 0.1;

/** A browser whose camera has pictures of that size. */
async function camera(width, height) {
  const file = path.join(service.dataDir, `${width}x${height}.y4m`);
  const planes = Buffer.concat([Buffer.alloc(width * height, 120), Buffer.alloc((width * height) / 2, 128)]);
  const frame = Buffer.concat([Buffer.from('FRAME\n'), planes]);
  await writeFile(file, Buffer.concat([Buffer.from(`YUV4MPEG2 W${width} H${height} F15:1 Ip A1:1 C420\n`), frame, frame]));
  return browser(`--use-file-for-fake-video-capture=${file}`);
}

const [upright, wide, old] = await Promise.all([camera(540, 960), camera(1280, 720), camera(640, 480)]);

/** The part of a video's picture that is to be seen within its frame, from 0 to 1, and the picture's shape. */
function shown(page, selector, frame) {
  return page.evaluate(([selector, frame]) => {
    const video = document.querySelector(selector);
    const [box, clip] = [video.getBoundingClientRect(), video.closest(frame).getBoundingClientRect()];
    const { objectFit } = getComputedStyle(video);
    const scales = [box.width / video.videoWidth, box.height / video.videoHeight];
    const scale = objectFit === 'cover' ? Math.max(...scales) : Math.min(...scales);
    const size = { width: video.videoWidth * scale, height: video.videoHeight * scale };
    const overlap = (start, length, side, extent) => {
      const from = start + (length - size[extent]) / 2;
      const first = Math.max(from, start, clip[side]);
      const last = Math.min(from + size[extent], start + length, clip[side] + clip[extent]);
      return Math.max(0, last - first) / size[extent];
    };
    const part = overlap(box.left, box.width, 'left', 'width') * overlap(box.top, box.height, 'top', 'height');
    return { part, shape: video.videoWidth / video.videoHeight, frame: clip.width / clip.height };
  }, [selector, frame]);
}

/** A picture of that shape is shown whole if its frame has quite another, and nearly whole if not. */
async function assertShown(page, what, selector, frame, shape) {
  await until(`a picture: ${what}`, () => page.evaluate((selector) => document.querySelector(selector).videoWidth > 0, selector));
  const isRight = async () => {
    const now = await shown(page, selector, frame);
    const cut = 1 - Math.min(now.shape / now.frame, now.frame / now.shape);
    const least = cut > CUT_MAX ? 0.999 : 1 - CUT_MAX - 0.001;
    return { ...now, ok: Math.abs(now.shape / shape - 1) < 0.02 && now.part >= least };
  };
  let last;
  await until(`${what}, as a whole`, async () => (last = await isRight()).ok).catch((error) => assert.fail(`${error.message}: ${JSON.stringify(last)}`));
}

const SHAPES = { upright: [upright, 540 / 960], wide: [wide, 1280 / 720], old: [old, 640 / 480] };

for (const [name, [launched, shape]] of Object.entries(SHAPES)) {
  for (const [size, options] of Object.entries({ phone: PHONE, desktop: DESKTOP })) {
    test(`a camera that is ${name}, seen on a ${size}`, async (t) => {
      const session = await service.session();
      const patient = await open(await device(t, launched, options), await session.patient());
      await visible(patient, 'preview');
      await assertShown(patient, 'getting ready', '#preview', '.preview', shape);
      await start(patient);
      await screen(patient, 'waiting');
      await assertShown(patient, 'waiting', '#waiting-preview', '.preview', shape);
      const doctor = await goIn(await device(t, old, options), await session.doctor());
      await seen(doctor);
      await assertShown(doctor, 'the patient', '[data-testid=remote-video]', '.tile', shape);
      await assertShown(patient, 'oneself', '#self-video', '.self', shape);
      await assertShown(patient, 'the doctor', '[data-testid=remote-video]', '.tile', 640 / 480);
    });
  }
}

test('a stage that changes its shape', async (t) => {
  const session = await service.session();
  await goIn(await device(t, upright), await session.patient());
  const doctor = await goIn(await device(t, old), await session.doctor());
  await seen(doctor);
  for (const viewport of [{ width: 400, height: 900 }, { width: 1280, height: 500 }]) {
    await doctor.setViewportSize(viewport);
    await assertShown(doctor, JSON.stringify(viewport), '[data-testid=remote-video]', '.tile', 540 / 960);
  }
  await click(doctor, 'people');
  await assertShown(doctor, 'beside the panel', '[data-testid=remote-video]', '.tile', 540 / 960);
});
