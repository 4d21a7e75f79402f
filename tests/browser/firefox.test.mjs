// Firefox, driven over WebDriver BiDi: its screens, and calls between it and Chromium, whoever comes first.

import assert from 'node:assert/strict';
import http from 'node:http';
import { after, test } from 'node:test';

import puppeteer from 'puppeteer-core';

import { Service, browser, device, freePort, goIn, listen, screen, until } from './support.mjs';

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

const holds = (page, what, check, ...given) => until(`Firefox: ${what}`, () => page.evaluate(check, ...given));

test('a doctor with Firefox uses what the call offers', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_OPEN' });
  const patient = await goIn(await device(t, chromium, { script: watched }), await session.patient());
  const doctor = await enterWithFirefox(t, await session.doctor());
  await hearsAndSees(doctor, 'Firefox');
  await doctor.keyboard.press('m');
  await patient.getByTestId('remote-muted').first().waitFor();
  await doctor.keyboard.press('?');
  await holds(doctor, 'the list of shortcuts', () => document.getElementById('shortcuts-dialog').open);
  await doctor.keyboard.press('Escape');
  await patient.getByTestId('hand').click();
  await holds(doctor, 'a raised hand', () => document.querySelector('[data-testid=remote-hand]').checkVisibility());
  await doctor.evaluate(() => document.querySelector('.tile.large').focus());
  await doctor.keyboard.press('+');
  await holds(doctor, 'a closer look', () => document.querySelector('.tile.large').classList.contains('zoomed'));
  await doctor.evaluate(() => document.querySelector('[data-testid=self-move]').focus());
  await doctor.keyboard.press('ArrowUp');
  await holds(doctor, 'its own picture goes to another corner', () => document.getElementById('self').dataset.corner === 'top-end');
  await press(doctor, 'devices-open');
  await holds(doctor, 'the devices to choose from', () => document.querySelectorAll('#device-menu[open] option').length >= 2);
  await doctor.keyboard.press('Escape');
  await press(doctor, 'people');
  await holds(doctor, 'the panel', () => document.querySelector('[data-testid=panel]').checkVisibility());
  await press(doctor, 'end-all');
  await press(doctor, 'end-confirm');
  await shows(doctor, 'end');
  await screen(patient, 'end');
});

test('short links, languages, an early link and refused devices, in Firefox', async (t) => {
  const session = await service.session();
  const { shortUrl } = await session.rpc('JoinSession', { role: 'ROLE_PATIENT', user_id: 'patient-1', locale: 'ar' });
  const page = await firefoxPage(t, shortUrl);
  await shows(page, 'ready');
  assert.deepEqual(await page.evaluate(() => [document.documentElement.lang, document.documentElement.dir]), ['ar', 'rtl']);
  assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= window.innerWidth));

  const inDays = (days) => new Date(Date.now() + days * 86_400_000).toISOString();
  const later = await service.session({ scheduled_start_time: inDays(3), doctor_name: 'Dr. Ana Ruiz' });
  const early = await later.rpc('JoinSession', { role: 'ROLE_PATIENT', user_id: 'patient-1', before_window: true });
  await page.goto(early.shortUrl);
  await holds(page, 'with whom', () => document.querySelector('[data-testid=with]')?.textContent === 'With Dr. Ana Ruiz');
  assert.match(await page.evaluate(() => document.querySelector('[data-testid=calendar]').href), /appointment\.ics/);

  await page.evaluateOnNewDocument(() => {
    navigator.mediaDevices.getUserMedia = async () => {
      throw new DOMException('', 'NotAllowedError');
    };
  });
  await page.goto(await session.patient());
  await holds(page, 'how to allow the devices in Firefox', () => document.querySelector('#failures [data-testid=help]')?.dataset.browser === 'firefox');
  await page.goto(`${await session.patient()}x`);
  await holds(page, 'a link that is not valid', () => document.documentElement.dataset.code === 'forged');
});

test('a doctor’s day is live in Firefox', async (t) => {
  const session = await service.session({ doctor_id: 'doctor-f' });
  const { doctorUrl } = await service.rpc('CreateDoctorLink', { user_id: 'doctor-f', display_name: 'Dr. Ana Ruiz' });
  const page = await firefoxPage(t, doctorUrl);
  await holds(page, 'the session', (id) => Boolean(document.querySelector(`[data-session="${id}"]`)), session.id);
  const patient = await goIn(await device(t, chromium), await session.patient());
  await screen(patient, 'waiting');
  await holds(page, 'who waits', () => /^Waiting/.test(document.querySelector('[data-testid=session-waits]').textContent));
});

test('a clinic’s page in Firefox tells of a lost service, comes back, and leads home at the end', async (t) => {
  const own = await Service.start({ PAGE_CLINIC_NAME: 'Praxis am Sonnenplatz', PAGE_END_URL: 'https://clinic.example/done' });
  t.after(() => own.stop());
  const session = await own.session({ admission: 'ADMISSION_OPEN' });
  const patient = await enterWithFirefox(t, await session.patient());
  assert.equal(await patient.evaluate(() => document.querySelector('[data-testid=clinic]').textContent), 'Praxis am Sonnenplatz');
  const doctor = await goIn(await device(t, chromium, { script: watched }), await session.doctor());
  await Promise.all([hearsAndSees(patient, 'Firefox'), hearsAndSees(doctor, 'Chromium')]);
  await own.stop('SIGKILL');
  await holds(patient, 'that the connection is lost', () => document.getElementById('lost').checkVisibility());
  await hearsAndSees(patient, 'Firefox, without the service,');
  await own.run();
  await holds(patient, 'that it is back', () => !document.getElementById('lost').checkVisibility());
  await session.end('over');
  await shows(patient, 'end');
  await holds(patient, 'the way to the clinic', () => document.querySelector('#end [data-testid=clinic-back]').href === 'https://clinic.example/done');
  await holds(patient, 'for how long', () => document.getElementById('end-lasted').textContent !== '');
});

test('three people and a shown screen, a still of one, and a screen of one’s own, in Firefox', async (t) => {
  const own = await Service.start({ PAGE_STILLS: 'true' });
  t.after(() => own.stop());
  const session = await own.session({ admission: 'ADMISSION_OPEN' });
  const patient = await goIn(await device(t, chromium, { script: watched }), await session.patient());
  const interpreter = await goIn(await device(t, chromium, { script: watched }), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  const doctor = await firefoxPage(t, 'about:blank');
  await doctor.evaluateOnNewDocument(() => {
    if (!navigator.mediaDevices) return;
    navigator.mediaDevices.getDisplayMedia = async () => {
      const canvas = Object.assign(document.createElement('canvas'), { width: 640, height: 360 });
      const paint = canvas.getContext('2d');
      setInterval(() => {
        paint.fillStyle = `hsl(${performance.now() % 360} 80% 50%)`;
        paint.fillRect(0, 0, 640, 360);
      }, 100);
      return canvas.captureStream(10);
    };
  });
  await doctor.goto(await session.doctor());
  await shows(doctor, 'ready');
  await press(doctor, 'start');
  await holds(doctor, 'two others', () => document.querySelectorAll('.tile').length === 2);
  await hearsAndSees(doctor, 'Firefox');
  await press(doctor, 'share');
  for (const page of [patient, interpreter]) {
    await page.locator('.tile.large [data-testid=remote-screen]').waitFor();
    await until('the presenter beside it', () => page.getByTestId('beside-video').evaluate((video) => video.videoWidth > 0).catch(() => false));
  }
  await press(doctor, 'stop-share');
  await patient.getByTestId('beside-video').waitFor({ state: 'detached' });
  await interpreter.getByTestId('share').click();
  await holds(doctor, 'the shown screen is large', () => document.querySelector('.tile.large [data-testid=remote-screen]')?.checkVisibility());
  await holds(doctor, 'its presenter is beside it', () => document.querySelector('[data-testid=beside-video]')?.videoWidth > 0);
  await doctor.evaluate(() => document.querySelector('[data-testid=picture-still]').click());
  await holds(doctor, 'a still to save', () => Boolean(document.querySelector('[data-testid=still-save]')));
});

test('a portal of another origin follows a consultation in Firefox', async (t) => {
  const port = await freePort();
  const portal = `http://127.0.0.1:${port}`;
  const own = await Service.start({ FRAME_ANCESTORS: portal });
  t.after(() => own.stop());
  const session = await own.session();
  const link = await session.patient();
  const page = `<!doctype html><title>Portal</title><iframe src="${link}" allow="camera; microphone; autoplay" width="600" height="700"></iframe>
    <script>window.heard = []; addEventListener('message', ({ data }) => heard.push(data.type));</script>`;
  await listen(http.createServer((_, answer) => answer.setHeader('content-type', 'text/html').end(page)), port);
  const outer = await firefoxPage(t, portal);
  await outer.evaluate((origin) => {
    const hello = () => document.querySelector('iframe').contentWindow.postMessage({ videoSession: 1, type: 'hello' }, origin);
    window.asking = setInterval(hello, 200);
  }, new URL(link).origin);
  await holds(outer, 'the page is ready', () => window.heard.includes('ready'));
  await outer.evaluate((origin) => {
    clearInterval(window.asking);
    document.querySelector('iframe').contentWindow.postMessage({ videoSession: 1, type: 'set-language', language: 'de' }, origin);
  }, new URL(link).origin);
  const frame = outer.frames().find((one) => one.url().includes('/join/'));
  await until('it speaks German', () => frame.evaluate(() => document.documentElement.lang === 'de'));
  await until('its own picture', () => frame.evaluate(() => Boolean(document.getElementById('preview').srcObject)));
  await frame.evaluate(() => document.getElementById('start').click());
  await holds(outer, 'that the participant waits', () => window.heard.includes('waiting'));
  await session.end('over');
  await holds(outer, 'that it is over', () => window.heard.includes('ended'));
});
