// WebKitGTK, of Safari's family: the page's screens, from the link to the end. Its build has no WebRTC (see webkit.mjs).

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Service, browser, device, goIn, visible } from './support.mjs';
import { Detour, WebKit } from './webkit.mjs';

const INSTAGRAM =
  'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 Instagram 384.0.0.34.93 (iPhone15,2; iOS 18_5; es_ES; es; scale=3.00; 1179x2556)';

const detour = await Detour.start();
const [service, chromium, webkit] = await Promise.all([
  Service.start({ CLIENT_BASE_URL: detour.url, DOCTOR_LIST_INTERVAL_SECS: '1' }),
  browser(),
  WebKit.start('es_ES'),
]);
detour.to(service);

/** A page in WebKit. Nothing may fail in it. */
async function visit(t, link, options) {
  const page = await webkit.open(t, link, { ...options, failures: detour.failures });
  t.after(() => assert.deepEqual(detour.failures.splice(0), [], 'the page failed'));
  return page;
}

async function enter(page) {
  await page.screen('ready');
  await page.says('start', /^Entrar$/);
  await page.until('a moving picture of oneself', () => page.evaluate(() => document.querySelector('[data-testid=preview]').currentTime > 0));
  await page.until('the microphone is measured', () => page.evaluate(() => Number(document.getElementById('level').getAttribute('aria-valuenow')) > 0));
  assert.equal(await page.text('old-browser'), '');
  // With it, this browser crashes now and then at the end of the call.
  assert.equal(await page.evaluate(() => document.getElementById('preview').srcObject.getAudioTracks().length), 0, 'one hears oneself');
  await page.click('start');
  await page.screen('waiting');
}

test('a patient sees themselves, waits, is admitted, mutes and leaves', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_MANUAL' });
  const patient = await visit(t, await session.patient(), { width: 390, height: 844 });
  const [doctor] = await Promise.all([goIn(await device(t, chromium), await session.doctor()), enter(patient)]);
  await doctor.getByTestId('knock-admit').click();
  await patient.screen('call');
  await patient.says('remote-name', /Dr\. Ana Ruiz/);
  for (const control of ['mute', 'camera', 'more', 'leave']) await patient.says(control, /./);
  await patient.click('mute');
  await visible(doctor, 'remote-muted');
  await patient.says('mute', /^Hablar$/);
  await patient.click('leave');
  await patient.screen('end');
  assert.equal(await patient.evaluate(() => document.body.dataset.endReason), 'left');
  await patient.click('again');
  await patient.screen('ready');
});

test('without WebRTC, and with a cut link, the page says what is wrong', async (t) => {
  detour.withCalls = false;
  t.after(() => (detour.withCalls = true));
  const link = await (await service.session()).patient();
  const page = await visit(t, link);
  await page.screen('ready');
  await page.says('failure-unsupported', /Este navegador es demasiado antiguo/);
  assert.equal(await page.text('start'), '');
  await page.go(link.slice(0, -20));
  await page.says('error-title', /./);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.code), 'missing-token');
});

test('in an app on an iPhone, the page leads to Safari', async (t) => {
  const session = await service.session();
  const { shortUrl } = await session.rpc('JoinSession', { role: 'ROLE_PATIENT', user_id: 'patient-1', display_name: 'Rosa Pérez' });
  const page = await visit(t, shortUrl, { width: 390, height: 844, args: [`--user-agent=${INSTAGRAM}`] });
  await page.says('in-app-title', /^Abra el enlace en su navegador$/);
  await page.until('the way to Safari', () => page.evaluate((wanted) => document.getElementById('outside').href === wanted, `x-safari-${shortUrl}`));
  await page.click('stay');
  await page.screen('ready');
});

test("a doctor's day is live", async (t) => {
  const { doctorUrl } = await service.rpc('CreateDoctorLink', { user_id: 'doctor-5', display_name: 'Dr. Ana Ruiz' });
  const page = await visit(t, doctorUrl);
  await page.screen('day');
  await page.until('the list is live', () => page.evaluate(() => document.getElementById('live').dataset.live === 'true'));
  const session = await service.session({ doctor_id: 'doctor-5' });
  const listed = () => page.evaluate((id) => Boolean(document.querySelector(`[data-session="${id}"]`)), session.id);
  await page.until('the new consultation', listed);
});
