// Calls of a patient on a bad network: one that loses a tenth of everything, a narrow one, one without UDP, and one that is away for 40 s.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { network } from './networks.mjs';
import { observedDevice } from './observed.mjs';
import { DESKTOP, PHONE, click, goIn, hidden, screen, seen, until, visible } from './support.mjs';

const bad = await network();
// Where media could go over TCP, it may do so on a loaded machine, and nothing is lost there.
const usual = await bad.service({ tcp: false });

const KBITS_PER_SEC = 150;
const AWAY_MS = 40_000;
/** The page's own twenty seconds, and what a loaded machine adds. */
const SAID_WITHIN_MS = 30_000;

/** Keeps what the page shows of the connection, as a participant reads it, and when, and what it last reported of the quality. */
const READER = `{
  window.readings = [];
  const send = WebSocket.prototype.send;
  WebSocket.prototype.send = function (data) {
    const { type, data: reported } = JSON.parse(data);
    if (type === 'quality') window.reported = reported;
    send.call(this, data);
  };
  let last = '';
  setInterval(() => {
    const all = [...document.querySelectorAll('#lost, #trouble, .note, .tile-state, [data-testid=remote-poor], [data-testid=alone]')];
    const text = all.filter((one) => one.checkVisibility() && one.textContent).map(({ textContent }) => textContent).join(' | ');
    if (text !== last) readings.push({ at: Date.now(), text });
    last = text;
  }, 100);
}`;

const readings = async (page, since) => (await page.evaluate(() => window.readings)).filter(({ at }) => at >= since);
const reads = (page, since, what) => until(`it is read: ${what}`, async () => (await readings(page, since)).some(({ text }) => what.test(text)));

/** What both read since then, with the seconds. None of it may be false. */
async function tell(t, pages, since, ...wrong) {
  for (const [who, page] of Object.entries(pages)) {
    const all = await readings(page, since);
    t.diagnostic(`${who}: ${all.map(({ at, text }) => `${((at - since) / 1000).toFixed(1)} s ${text}`).join('; ')}`);
    for (const what of wrong) assert.deepEqual(all.filter(({ text }) => what.test(text)), [], `${who}: ${what}`);
  }
}

async function join(t, { service, link, script = '' }) {
  t.after(() => bad.set());
  const session = await service.session();
  const patient = await goIn(await observedDevice(t, bad.patients, { ...PHONE, script: READER + script }), link(await session.patient()));
  const doctor = await goIn(await observedDevice(t, bad.doctors, { ...DESKTOP, script: READER }), await session.doctor());
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  return { doctor, patient };
}

async function meet(t, over) {
  const pages = await join(t, over);
  await Promise.all([seen(pages.patient), seen(pages.doctor)]);
  return pages;
}

/** What a page has received so far, and over what it sends. */
const media = (page) =>
  page.evaluate(async () => {
    const open = window.observed.connections.filter(({ connectionState }) => connectionState !== 'closed');
    const found = { at: Date.now(), made: window.observed.connections.length, open: open.length, frames: 0, width: 0, bytes: 0, packets: 0, lost: 0, energy: 0, samples: 0, concealed: 0 };
    for (const connection of open) {
      const report = await connection.getStats();
      for (const entry of report.values()) {
        if (entry.type === 'inbound-rtp') {
          found.bytes += entry.bytesReceived + entry.headerBytesReceived;
          found.packets += entry.packetsReceived;
          found.lost += entry.packetsLost;
          found.frames += entry.framesDecoded ?? 0;
          found.width = entry.frameWidth ?? found.width;
          found.energy += entry.totalAudioEnergy ?? 0;
          found.samples += entry.totalSamplesReceived ?? 0;
          found.concealed += entry.concealedSamples ?? 0;
        } else if (entry.type === 'transport' && entry.selectedCandidatePairId) {
          found.relay = report.get(report.get(entry.selectedCandidatePairId).localCandidateId).relayProtocol;
        }
      }
    }
    return found;
  });

/** Picture and sound go on arriving, over the connection that there is; how, from now on for some seconds. */
async function goesOn(t, pages) {
  const all = Object.entries(pages).map(async ([who, page]) => {
    const before = await media(page);
    await sleep(5000);
    const now = await until(`${who} sees and hears`, async () => {
      const next = await media(page);
      return next.frames >= before.frames + 20 && next.energy > before.energy && next;
    });
    const secs = (now.at - before.at) / 1000;
    const [lost, packets] = [now.lost - before.lost, now.packets - before.packets];
    const how = { lostShare: lost / (lost + packets), kbitsPerSec: ((now.bytes - before.bytes) * 8) / 1000 / secs };
    const [loss, concealed] = [how.lostShare, (now.concealed - before.concealed) / (now.samples - before.samples)].map((share) => `${Math.round(100 * share)} %`);
    t.diagnostic(`${who} receives ${((now.frames - before.frames) / secs).toFixed(1)} frames/s, ${now.width} wide, ${Math.round(how.kbitsPerSec)} kbit/s; lost ${loss}, sound made up ${concealed}`);
    assert.equal(now.made, before.made, `${who}: it is still the same connection`);
    return [who, how];
  });
  return Object.fromEntries(await Promise.all(all));
}

console.log(`# the bad network is made of ${bad.kind}`);

test('a tenth of everything is lost: picture and sound go on, and both are told', async (t) => {
  const pages = await meet(t, usual);
  const since = Date.now();
  await bad.set({ lossPercent: 10, delayMs: 50 });
  await Promise.all(Object.values(pages).map((page) => visible(page, 'remote-poor')));
  const how = await goesOn(t, pages);
  for (const [who, { lostShare }] of Object.entries(how)) assert.ok(lostShare > 0.01 && lostShare < 0.3, `${who}: ${lostShare} is lost`);
  await bad.set();
  await Promise.all(Object.values(pages).map((page) => hidden(page, 'remote-poor')));
  await tell(t, pages, since, /Connection lost/, /still see/);
});

test('150 kbit/s: the call begins and goes on with a smaller picture, and both are told', async (t) => {
  await bad.set({ kbitsPerSec: KBITS_PER_SEC, delayMs: 20 });
  const since = Date.now();
  const pages = await meet(t, usual);
  t.diagnostic(`seen ${Date.now() - since} ms after the patient opened the link`);
  await Promise.all(Object.values(pages).map((page) => reads(page, since, /connection (with .+ )?is weak/)));
  const how = await goesOn(t, pages);
  for (const [who, { kbitsPerSec }] of Object.entries(how)) assert.ok(kbitsPerSec < 1.2 * KBITS_PER_SEC, `${who} receives ${kbitsPerSec} kbit/s`);
  const muted = Date.now();
  await click(pages.patient, 'mute');
  await visible(pages.doctor, 'remote-muted');
  t.diagnostic(`muted for the doctor after ${Date.now() - muted} ms`);
  // It is weak for its narrowness, not only because its queue was full at first.
  for (const [who, page] of Object.entries(pages)) await until(`${who} counts a narrow network`, () => page.evaluate(() => window.reported?.weak?.bandwidth > 0));
  await tell(t, pages, since, /Connection lost/, /still see/);
});

test('no UDP: the call goes over TCP if the TURN server has it', async (t) => {
  const own = await bad.service({ tcp: true });
  await bad.set({ udp: false });
  const since = Date.now();
  const pages = await meet(t, own);
  t.diagnostic(`seen ${Date.now() - since} ms after the patient opened the link`);
  assert.equal((await media(pages.patient)).relay, 'tcp');
  await tell(t, pages, since, /no connection/);
});

test('no UDP and no TCP: both are told what may help, and the page keeps its promise to try', { timeout: 200_000 }, async (t) => {
  await bad.set({ udp: false });
  const since = Date.now();
  const pages = await join(t, usual);
  for (const page of Object.values(pages)) {
    await reads(page, since, /There is no connection to .+ yet\. We will keep trying\..+mobile data/);
    const [begun, said] = [/Connecting/, /no connection/].map((what) => async () => (await readings(page, since)).find(({ text }) => what.test(text)).at);
    const within = (await said()) - (await begun());
    assert.ok(within < SAID_WITHIN_MS, `said after ${within} ms`);
  }
  await bad.set();
  const opened = Date.now();
  await Promise.all(Object.values(pages).map((page) => seen(page)));
  t.diagnostic(`seen ${Date.now() - opened} ms after UDP was let through`);
  await tell(t, pages, since, /still see/);
});

test('a network that is away for forty seconds', { timeout: 200_000 }, async (t) => {
  const pages = await meet(t, usual);
  const { doctor, patient } = pages;
  const since = Date.now();
  await bad.set({ up: false });
  await Promise.all([reads(doctor, since, /Rosa Pérez(’s connection is weak| has no connection)/), reads(patient, since, /^(Your connection|Connection lost)/)]);
  await sleep(AWAY_MS - (Date.now() - since));
  await bad.set();
  const mended = Date.now();
  await Promise.all([seen(patient), seen(doctor)]);
  t.diagnostic(`seen ${Date.now() - mended} ms after the network was back`);
  await hidden(patient, 'lost');
  await tell(t, pages, since, /still see/, /Dr\. Ana Ruiz(’s connection| has no connection)/, /is here.*has lost the connection/, /no connection to .+ yet/);
});
