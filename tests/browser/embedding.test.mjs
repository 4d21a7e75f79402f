// The page in a frame of a backend's portal: another site, over TLS, with everything that browsers ask for there.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import https from 'node:https';
import net from 'node:net';
import tls from 'node:tls';
import { test } from 'node:test';

import { overMessage } from '../../web/js/embedding.js';
import { Service, browser, certificate, device, freePort, listen, seen, screen } from './support.mjs';

const [httpsPort, portalPort] = await Promise.all([freePort(), freePort()]);
const [base, portal] = [`https://127.0.0.1:${httpsPort}`, `https://localhost:${portalPort}`];
const [service, chromium] = await Promise.all([
  Service.start({ CLIENT_BASE_URL: base, FRAME_ANCESTORS: portal }),
  browser('--ignore-certificate-errors'),
]);
const identity = await certificate(service.dataDir);
await listen(
  tls.createServer(identity, (near) => {
    const far = net.connect(Number(new URL(service.url).port), '127.0.0.1');
    near.pipe(far).pipe(near);
    for (const socket of [near, far]) socket.on('error', () => socket.destroy());
  }),
  httpsPort,
);
/** As docs/embedding.md has it. */
const ALLOW = 'camera; microphone; display-capture; autoplay; fullscreen; speaker-selection; screen-wake-lock';
let allow = ALLOW;
const links = new Map();
const german = JSON.parse(readFileSync(new URL('../../web/i18n/de.json', import.meta.url)));
const PORTAL = readFileSync(new URL('../../examples/embedding/portal.html', import.meta.url));
await listen(
  https.createServer(identity, (request, answer) => {
    answer.setHeader('content-type', 'text/html');
    if (request.url === '/portal.html') return answer.end(PORTAL);
    return answer.end(`<!doctype html><title>Portal</title><iframe src="${links.get(request.url)}" allow="${allow}" width="600" height="700" title="Video consultation"></iframe>`);
  }),
  portalPort,
);

async function embedded(t, who, link) {
  links.set(`/${who}`, link);
  const page = await (await device(t, chromium, { ignoreHTTPSErrors: true })).newPage();
  await page.goto(`${portal}/${who}`);
  return page.frames()[1];
}

async function into(frame) {
  await screen(frame, 'ready');
  await frame.waitForFunction(() => document.querySelector('[data-testid=preview]').srcObject);
  await frame.getByTestId('start').click();
  await screen(frame, 'call');
}

test('two participants meet in the portal of another site', async (t) => {
  const session = await service.session();
  const doctor = await embedded(t, 'doctor', await session.doctor());
  await into(doctor);
  const patient = await embedded(t, 'patient', await session.patient());
  await into(patient);
  await Promise.all([seen(doctor), seen(patient)]);
  assert.ok(!patient.url().includes('token'), patient.url());
  const reloaded = patient.waitForNavigation();
  await patient.evaluate(() => location.reload());
  await reloaded;
  await screen(patient, 'call');
  await Promise.all([seen(doctor), seen(patient)]);
});

test('a portal follows the consultation and may ask for three things', async (t) => {
  const session = await service.session();
  const page = await (await device(t, chromium, { ignoreHTTPSErrors: true })).newPage();
  await page.goto(`${portal}/portal.html#${await session.patient()}`);
  const says = (id, value) => page.waitForFunction(([id, value]) => document.getElementById(id).value === value, [id, value]);
  await says('state', 'ready');
  const patient = page.frames()[1];
  await page.getByLabel('Language').selectOption('es');
  await patient.waitForFunction(() => document.documentElement.lang === 'es' && document.getElementById('ready-title').textContent === 'Prepárese');
  await patient.getByTestId('start').click();
  await says('state', 'waiting host-absent');
  await page.getByLabel('Language').selectOption('de');
  await patient.waitForFunction((title) => document.getElementById('waiting-title').textContent === title, german['waiting.host-absent.title']);
  const doctor = await embedded(t, 'doctor', await session.doctor());
  await into(doctor);
  await says('state', 'joined');
  await says('count', '2');
  await page.getByText('Mute').click();
  await patient.waitForFunction(() => document.getElementById('self-muted').hidden === false);
  await page.getByText('Leave').click();
  await says('state', 'left left');
  await doctor.getByTestId('alone').waitFor();
  await patient.getByTestId('again').click();
  await into(patient);
  await session.end('over');
  await says('state', 'ended ended');
});

test('a portal is told that it ended only if it did', () => {
  const told = (reason) => {
    const [type, { reason: why, code }] = overMessage(reason);
    return [type, why ?? code].join(' ');
  };
  for (const reason of ['left', 'removed', 'replaced', 'gave-up', 'error.removed']) assert.equal(told(reason), `left ${reason.replace('error.', '')}`);
  for (const reason of ['full', 'outdated', 'no-encryption', 'other-app', 'error.internal', 'error.expired']) assert.equal(told(reason), `error ${reason.replace('error.', '')}`);
  for (const reason of ['ended', 'ended-by-host', 'ended-by-you', 'time-over', 'empty', 'error.ended']) assert.equal(told(reason), `ended ${reason.replace('error.', '')}`);
});

test('a portal that listens late is told all the same', async (t) => {
  const session = await service.session();
  links.set('/late', await session.patient());
  const page = await (await device(t, chromium, { ignoreHTTPSErrors: true })).newPage();
  await page.goto(`${portal}/late`);
  const frame = page.frames()[1];
  await screen(frame, 'ready');
  await frame.waitForFunction(() => performance.getEntriesByName('first-screen').length > 0);
  const heard = await page.evaluate(async (client) => {
    const { VideoSession } = await import(client);
    const consultation = new VideoSession(document.querySelector('iframe'), { origin: new URL(client).origin });
    return new Promise((resolve) => consultation.addEventListener('ready', ({ detail }) => resolve(detail.language)));
  }, `${base}/embed.js`);
  assert.equal(heard, 'en');
});

test('a portal learns why the page cannot be used', async (t) => {
  const session = await service.session();
  const link = new URL(await session.patient());
  link.searchParams.set('token', 'x');
  const page = await (await device(t, chromium, { ignoreHTTPSErrors: true })).newPage();
  await page.goto(`${portal}/portal.html#${link}`);
  await page.waitForFunction(() => document.getElementById('state').value === 'error forged');
});

test('a portal that forgot to pass camera and microphone on', async (t) => {
  const session = await service.session();
  allow = '';
  const frame = await embedded(t, 'forgetful', await session.patient());
  allow = ALLOW;
  await frame.getByTestId('failure-blocked').waitFor();
});

test('a site that may not show it shows nothing', async (t) => {
  const session = await service.session();
  links.set('/stranger', await session.patient());
  const page = await (await device(t, chromium, { ignoreHTTPSErrors: true })).newPage();
  const refused = page.waitForEvent('console', (message) => /frame-ancestors/.test(message.text()));
  await page.goto(`https://127.0.0.1:${portalPort}/stranger`);
  await refused;
});
