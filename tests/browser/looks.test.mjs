// Every screen, at the size of a phone and of a desk: nothing for axe to find, nothing too wide. `npm run
// pictures` renews docs/screens.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { DESKTOP, PHONE, SMALL, Service, accessible, browser, click, device, goIn, open, picture, received, screen, seen, start, until, visible } from './support.mjs';
import { SCREEN, portraits } from './portraits.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);
const faces = await portraits(chromium, service.dataDir);
const showing = (file) => browser(`--use-file-for-fake-video-capture=${file}`);
const [practice, home] = await Promise.all([showing(faces.doctor), showing(faces.patient)]);

const SIZES = { small: SMALL, phone: PHONE, desktop: DESKTOP, 'desktop-200': { viewport: { width: 640, height: 400 } } };
const PICTURED = new Set(['phone', 'desktop']);
const LANGUAGES = { small: 'es-ES' };

for (const [size, options] of Object.entries(SIZES)) {
  for (const colorScheme of ['light', 'dark']) {
    test(`${size}, ${colorScheme}`, async (t) => {
      const session = await service.session({ admission: 'ADMISSION_MANUAL' });
      const locale = LANGUAGES[size] ?? 'en-GB';
      const at = (where) => device(t, where, { ...options, locale, colorScheme });
      const look = async (page, what) => {
        await accessible(page, `${what}, ${size}, ${colorScheme}`);
        if (colorScheme === 'light' && PICTURED.has(size)) await picture(page, `${what}-${size}`);
      };
      const patient = await open(await at(home), await session.patient());
      await until('own picture', () => patient.getByTestId('preview').evaluate((video) => video.videoWidth > 0));
      await look(patient, 'ready');
      await start(patient);
      await screen(patient, 'waiting');
      await look(patient, 'waiting');
      const doctor = await goIn(await at(practice), await session.doctor());
      await visible(doctor, 'knock');
      await look(doctor, 'alone');
      await click(doctor, 'knock-admit');
      await Promise.all([seen(patient), seen(doctor)]);
      await until('both full pictures', async () => (await received(patient)).width >= 640 && (await received(doctor)).width >= 640);
      await look(patient, 'call');
      const more = patient.getByTestId('more');
      if (await more.isVisible()) await more.click();
      await click(patient, 'react');
      await look(patient, 'reactions');
      await click(doctor, 'people');
      await look(doctor, 'panel');
      await click(doctor, 'remove');
      await look(doctor, 'remove');
      await click(doctor, 'remove-cancel');
      await click(doctor, 'end-all');
      await look(doctor, 'end-dialog');
      await click(doctor, 'end-confirm');
      await screen(patient, 'end');
      await look(patient, 'end');
      const error = await open(await at(home), `${service.url}/join/nothing`);
      await look(error, 'error');
    });
  }
}

test('three people and a shown screen; upright video on a wide screen', async (t) => {
  const [phone, office] = await Promise.all([showing(faces.patientUpright), showing(faces.interpreter)]);
  const session = await service.session();
  await goIn(await device(t, phone, PHONE), await session.patient());
  const doctor = await goIn(await device(t, practice, { ...DESKTOP, script: SCREEN }), await session.doctor());
  await seen(doctor);
  await until('the full picture', async () => (await received(doctor)).height >= 640);
  await accessible(doctor, 'upright video');
  await picture(doctor, 'upright-desktop');
  const interpreter = await goIn(await device(t, office, DESKTOP), await session.invite('ROLE_INTERPRETER', 'Ivo Horvat'));
  await click(doctor, 'share');
  await until('the screen, and the presenter beside it', () => interpreter.evaluate(() => ['.tile.large video', '[data-testid=beside-video]'].every((selector) => document.querySelector(selector)?.videoWidth >= 320)));
  await seen(interpreter, { name: 'Rosa Pérez' });
  await accessible(interpreter, 'a shown screen');
  await picture(interpreter, 'screen-desktop');
});

test('without motion for those who ask for that', async (t) => {
  const session = await service.session();
  const patient = await goIn(await device(t, chromium, { ...PHONE, reducedMotion: 'reduce' }), await session.patient());
  await screen(patient, 'waiting');
  assert.equal(await patient.locator('.breath').evaluate((element) => getComputedStyle(element).animationName), 'none');
});
