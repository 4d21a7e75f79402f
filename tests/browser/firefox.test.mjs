// Firefox, driven over WebDriver BiDi: its screens, and calls between it and Chromium, whoever comes first.

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import puppeteer from 'puppeteer-core';

import { Service, browser, device, goIn, screen, until } from './support.mjs';

/** Keeps a page's connections where the test can look at them. */
const watched = `window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(given) {
    super(given);
    (window.connections ??= []).push(this);
  }
};`;

const [service, chromium, firefox] = await Promise.all([
  Service.start(),
  browser(),
  puppeteer.launch({
    browser: 'firefox',
    executablePath: process.env.FIREFOX ?? '/usr/bin/firefox-esr',
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      // Tests' machines resolve no mDNS names.
      'media.peerconnection.ice.obfuscate_host_addresses': false,
      'media.autoplay.default': 0,
    },
  }),
]);
after(() => firefox.close());

/** Puppeteer's page, with what the helpers for Playwright's pages need. */
async function firefoxPage(t, link) {
  const context = await firefox.createBrowserContext();
  t.after(() => context.close());
  const page = await context.newPage();
  await page.evaluateOnNewDocument(watched);
  await page.goto(link);
  return page;
}

const shows = (page, wanted) => until(`Firefox shows ${wanted}`, () => page.evaluate((name) => document.body.dataset.screen === name, wanted));
const press = (page, id) => page.evaluate((given) => document.getElementById(given).click(), id);

/** What has come so far, by the statistics of the receiving connections: Firefox counts no shown frames. */
async function arrived(page) {
  return page.evaluate(async () => {
    const sum = { frames: 0, bytes: 0 };
    for (const connection of window.connections ?? []) {
      for (const entry of (await connection.getStats()).values()) {
        if (entry.type !== 'inbound-rtp') continue;
        if (entry.kind === 'video') sum.frames += entry.framesDecoded ?? 0;
        else sum.bytes += entry.bytesReceived ?? 0;
      }
    }
    return sum;
  });
}

/** Picture and sound go on coming. */
async function hearsAndSees(page, who) {
  const before = await until(`${who} receives frames`, async () => {
    const now = await arrived(page);
    return now.frames > 0 && now.bytes > 0 && now;
  });
  await until(`${who} receives more`, async () => {
    const now = await arrived(page);
    return now.frames > before.frames + 5 && now.bytes > before.bytes;
  });
}

async function enterWithFirefox(t, link) {
  const page = await firefoxPage(t, link);
  await shows(page, 'ready');
  await until('its own picture', () => page.evaluate(() => Boolean(document.getElementById('preview').srcObject)));
  await press(page, 'start');
  return page;
}

for (const [first, role] of [['patient', 'a patient'], ['doctor', 'a doctor']]) {
  test(`${role} with Firefox comes first, and the other one with Chromium`, async (t) => {
    const session = await service.session({ admission: 'ADMISSION_OPEN' });
    const second = first === 'patient' ? 'doctor' : 'patient';
    const one = await enterWithFirefox(t, await session[first]());
    await shows(one, 'call');
    const other = await goIn(await device(t, chromium, { script: watched }), await session[second]());
    await screen(other, 'call');
    await Promise.all([hearsAndSees(one, 'Firefox'), hearsAndSees(other, 'Chromium')]);
  });
}

test('a patient with Firefox waits for a doctor with Chromium, loses the page, and returns', async (t) => {
  const session = await service.session();
  const patient = await enterWithFirefox(t, await session.patient());
  await shows(patient, 'waiting');
  const doctor = await goIn(await device(t, chromium, { script: watched }), await session.doctor());
  await shows(patient, 'call');
  await Promise.all([hearsAndSees(patient, 'Firefox'), hearsAndSees(doctor, 'Chromium')]);
  await patient.reload();
  await shows(patient, 'call');
  await hearsAndSees(patient, 'Firefox');
  // The controls do what they say, and the other one is told.
  await press(patient, 'mute');
  await doctor.getByTestId('remote-muted').first().waitFor();
  await press(patient, 'leave');
  await shows(patient, 'end');
  assert.equal(await patient.evaluate(() => document.body.dataset.endReason), 'left');
});
