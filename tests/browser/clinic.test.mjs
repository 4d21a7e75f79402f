// A clinic's own page: its name, logo and colours, when the appointment is, the language of the link, and the way back.

import assert from 'node:assert/strict';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';

import { PHONE, SMALL, Service, accessible, browser, device, ended, goIn, open, picture, screen, start, visible } from './support.mjs';

/** Within the join window. */
const SOON_MS = 5 * 60_000;
const CLINIC = 'Praxis am Sonnenplatz';
const LOGO = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 120 60"><circle cx="60" cy="30" r="20" fill="#f9a825"/><path d="M10 58a50 34 0 0 1 100 0" fill="#00796b"/></svg>';
/** As the page shows it: in one piece, from left to right. */
const PHONE_SHOWN = '\u2066+49\u00a030\u00a0123456\u2069';
const END = 'https://clinic.example/done';

const logo = path.join(mkdtempSync(path.join(tmpdir(), 'clinic-')), 'logo.svg');
writeFileSync(logo, LOGO);
const [chromium, service] = await Promise.all([
  browser(),
  Service.start({
    PAGE_CLINIC_NAME: CLINIC,
    PAGE_LOGO_FILE: logo,
    PAGE_COLOR: '#00796b',
    PAGE_PHONE: '+49 30 123456',
    PAGE_HELP_URL: 'https://clinic.example/help',
    PAGE_PRIVACY_URL: 'https://clinic.example/privacy',
    PAGE_END_URL: END,
  }),
]);

const style = (page, testid, property) => page.getByTestId(testid).first().evaluate((element, name) => getComputedStyle(element)[name], property);

test('the first screen is the clinic\'s, light and dark, on every size', async (t) => {
  const startsAt = new Date(Date.now() + SOON_MS);
  const session = await service.session({ scheduled_start_time: startsAt.toISOString(), doctor_name: 'Dr. Ana Ruiz' });
  const link = await session.patient();
  for (const [colorScheme, options, name, button] of [
    ['light', PHONE, 'clinic-first-screen', 'rgb(0, 121, 107)'],
    ['dark', SMALL, 'clinic-first-screen-dark', 'rgb(77, 161, 151)'],
  ]) {
    const page = await open(await device(t, chromium, { ...options, colorScheme, timezoneId: 'Europe/Madrid' }), link);
    await screen(page, 'ready');
    assert.ok((await page.title()).endsWith(CLINIC));
    assert.equal(await style(page, 'start', 'backgroundColor'), button);
    assert.equal(await page.getByTestId('clinic').first().textContent(), CLINIC);
    assert.ok(await page.getByTestId('clinic-logo').first().evaluate((image) => image.decode().then(() => image.getBoundingClientRect().width > 40)));
    const clock = new Intl.DateTimeFormat('en-GB', { timeStyle: 'short', timeZone: 'Europe/Madrid' }).format(startsAt);
    const appointment = await page.getByTestId('appointment').innerText();
    assert.ok(appointment.includes(clock) && appointment.includes('With Dr. Ana Ruiz'), appointment);
    await accessible(page, `the first screen, ${colorScheme}`);
    await picture(page, name);
  }
});

test('the last screen says how long it lasted, and leads back to the clinic', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_OPEN' });
  const patientAt = await device(t, chromium, PHONE);
  const patient = await goIn(patientAt, await session.patient());
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await session.end('over');
  await Promise.all([ended(patient, 'ended'), ended(doctor, 'ended')]);
  assert.match(await patient.getByTestId('end-lasted').textContent(), /less than a minute/);
  const back = patient.locator('#end [data-testid=clinic-back]');
  assert.equal(await back.textContent(), `Back to ${CLINIC}`);
  assert.equal(await back.getAttribute('href'), END, 'nothing of the session is in the address');
  assert.equal(await patient.locator('#end [data-testid=clinic-phone]').textContent(), `Call ${CLINIC}: ${PHONE_SHOWN}`);
  assert.equal(await doctor.getByTestId('clinic-phone').count(), 0);
  assert.doesNotMatch(await doctor.getByTestId('end-todo').textContent(), /practice/);
  await accessible(patient, 'the last screen');
  await picture(patient, 'clinic-last-screen');

  await patientAt.route(`${END}**`, (route) => route.fulfill({ body: 'bye', contentType: 'text/html' }));
  const asked = patient.waitForRequest(`${END}**`);
  await back.click();
  const request = await asked;
  assert.deepEqual([request.url(), await request.headerValue('referer')], [END, null]);
});

test('page and errors are in the language of the link', async (t) => {
  const session = await service.session();
  const { joinUrl } = await session.rpc('JoinSession', { role: 'ROLE_PATIENT', user_id: 'patient-1', locale: 'es-MX' });
  const at = await device(t, chromium, PHONE);
  const page = await open(at, joinUrl);
  await screen(page, 'ready');
  assert.equal(await page.locator('#ready-title').textContent(), 'Prepárese');
  await start(page);
  await screen(page, 'waiting');
  await session.end('over');
  await ended(page, 'ended');
  await page.reload();
  await visible(page, 'clinic-phone');
  assert.equal(await page.evaluate(() => `${document.documentElement.lang} ${document.body.dataset.code}`), 'es ended');
  assert.equal(await page.getByTestId('clinic-phone').textContent(), `Llame a ${CLINIC}: ${PHONE_SHOWN}`);
  await accessible(page, 'an error page');
  await picture(page, 'clinic-error');
});
