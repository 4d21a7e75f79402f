// The page in every language, on the smallest phone: nothing is cut, nothing overflows, nothing stays English.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

import { SMALL, Service, accessible, browser, click, device, goIn, hidden, open, picture, screen, seen, visible } from './support.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);
const FOLDER = new URL('../../web/i18n/', import.meta.url);
const LANGUAGES = readdirSync(FOLDER).map((file) => file.replace('.json', ''));
const catalogue = (language) => JSON.parse(readFileSync(new URL(`${language}.json`, FOLDER)));

/** The texts of elements that are wider than their place. */
const cut = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll(':is(main:not([hidden]), dialog[open]) :is(button, h1, h2, p, label, a, summary):not(.visually-hidden)')]
      .filter((element) => element.checkVisibility() && element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== 'inline')
      .map((element) => element.textContent.trim()),
  );

async function fits(page, what) {
  assert.deepEqual(await cut(page), [], `${what}: cut`);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth), `${what}: wider than the screen`);
}

test('every language has its first screen and its errors', async (t) => {
  assert.ok(LANGUAGES.length >= 10, String(LANGUAGES));
  const session = await service.session();
  const phone = await device(t, chromium, SMALL);
  for (const locale of LANGUAGES) {
    const { joinUrl } = await session.rpc('JoinSession', { role: 'ROLE_PATIENT', user_id: 'patient-1', locale });
    const page = await open(phone, joinUrl);
    await screen(page, 'ready');
    assert.equal(await page.locator('#ready-title').textContent(), catalogue(locale)['ready.title']);
    assert.deepEqual(await page.evaluate(() => [document.documentElement.lang, document.documentElement.dir]), [locale, locale === 'ar' ? 'rtl' : 'ltr']);
    await fits(page, `${locale}, first screen`);
    await page.goto(`${joinUrl}AAAA`);
    await page.getByText(catalogue(locale)['error.forged.title']).first().waitFor();
    await fits(page, `${locale}, error`);
    await page.close();
  }
});

// From right to left, and the longest.
for (const locale of ['ar', 'de']) {
  test(`a call in ${locale}`, async (t) => {
    const session = await service.session();
    const link = async (role, user_id) => (await session.rpc('JoinSession', { role, user_id, locale })).joinUrl;
    const patient = await goIn(await device(t, chromium, SMALL), await link('ROLE_PATIENT', 'patient-1'));
    await screen(patient, 'waiting');
    await fits(patient, 'waiting');
    const doctor = await goIn(await device(t, chromium, SMALL), await link('ROLE_DOCTOR', 'doctor-1'));
    await Promise.all([seen(patient), seen(doctor)]);
    await fits(patient, 'call');
    await picture(patient, `call-${locale}-small`);
    await click(doctor, 'more');
    await fits(doctor, 'more controls');
    await accessible(doctor, `call, ${locale}`);
    await click(doctor, 'devices-open');
    await visible(doctor, 'device-menu');
    await fits(doctor, 'devices');
    await doctor.keyboard.press('Escape');
    await hidden(doctor, 'device-menu');
    await click(doctor, 'people');
    await visible(doctor, 'end-all');
    await fits(doctor, 'people');
    await click(doctor, 'end-all');
    await click(doctor, 'end-confirm');
    await screen(patient, 'end');
    await fits(patient, 'end');
  });
}
