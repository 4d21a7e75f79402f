// Short links: in a phone's browser, in another app's, passed on from there, and before the consultation.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, Service, accessible, browser, device, open, screen, visible } from './support.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);
const INSTAGRAM =
  'Mozilla/5.0 (Linux; Android 15; Pixel 8 Build/AP4A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/137.0.7151.89 Mobile Safari/537.36 Instagram 384.0.0.46.83 Android';

const shortLink = async (session, request = {}) =>
  (await session.rpc('JoinSession', { role: 'ROLE_PATIENT', user_id: 'patient-1', display_name: 'Rosa Pérez', ...request })).shortUrl;

test('a link opened in another app leads out, and works elsewhere afterwards', async (t) => {
  const session = await service.session();
  const link = await shortLink(session);
  assert.ok(new URL(link).pathname.length <= 40, link);
  for (const colorScheme of ['light', 'dark']) {
    const app = await device(t, chromium, { ...PHONE, userAgent: INSTAGRAM, colorScheme, permissions: ['clipboard-read', 'clipboard-write'] });
    const notice = await open(app, link);
    await visible(notice, 'in-app-title');
    await accessible(notice, `in-app, ${colorScheme}`);
    assert.match(await notice.getByTestId('outside').getAttribute('href'), /^intent:\/\/127\.0\.0\.1:\d+\/j\/\w{26}#Intent;scheme=http;/);
    assert.equal(await notice.getByTestId('link').inputValue(), link);
    await notice.getByTestId('copy').click();
    await notice.getByText('Copied.').waitFor();
    assert.equal(await notice.evaluate(() => navigator.clipboard.readText()), link);
    // Whoever stays may pass the page's address on.
    await notice.getByTestId('stay').click();
    await screen(notice, 'ready');
    const address = notice.url();
    assert.ok(!address.includes('Rosa'), address);
    const elsewhere = await open(await device(t, chromium, PHONE), address);
    await screen(elsewhere, 'ready');
    assert.equal(await elsewhere.getByTestId('as').textContent(), await notice.getByTestId('as').textContent());
    assert.ok(!elsewhere.url().includes('#'), elsewhere.url());
  }
});

test('a link that is days early shows the appointment, and offers it for the calendar', async (t) => {
  const starts = new Date(Date.now() + 3 * 86_400_000);
  const session = await service.session({ scheduled_start_time: starts.toISOString() });
  const link = await shortLink(session, { before_window: true });
  const page = await open(await device(t, chromium, { ...PHONE, timezoneId: 'Europe/Berlin' }), link);
  await visible(page, 'starts-at');
  const time = new Intl.DateTimeFormat('en-GB', { timeStyle: 'short', timeZone: 'Europe/Berlin' }).format(starts);
  await page.waitForFunction((wanted) => document.getElementById('starts-at').textContent.includes(wanted), time);
  await accessible(page, 'early');
  const [download] = await Promise.all([page.waitForEvent('download'), page.getByTestId('calendar').click()]);
  assert.equal(download.suggestedFilename(), 'appointment.ics');
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  const file = Buffer.concat(chunks).toString();
  assert.ok(file.includes(`DTSTART:${starts.toISOString().replace(/[-:]|\.\d+/g, '')}`), file);
  assert.ok(file.replaceAll('\r\n ', '').includes(link), file);
  assert.ok(!file.includes('Rosa'), file);
});
