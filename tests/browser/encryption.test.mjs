// Calls through a LiveKit node that cannot see or hear them.

import assert from 'node:assert/strict';
import path from 'node:path';
import { test } from 'node:test';

import { LiveKitServer } from './livekit.mjs';
import * as observed from './observed.mjs';
import { SQUARE_SCREEN, goesPast, goesThrough, presenterSeen, traffic } from './observed.mjs';
import { DESKTOP, PHONE, Service, browser, click, device, ended, goIn, screen, seen, until } from './support.mjs';

const LIBRARY = path.resolve(import.meta.dirname, '../../vendor/livekit-client/livekit-client.js');

const [chromium, server] = await Promise.all([browser(), LiveKitServer.start()]);
// The service must not remove the spy while a test looks at what it sees.
const service = await Service.start({ ...(await LiveKitServer.nodes(server)), SFU_RECONCILE_SECS: '3600' });

const observedDevice = (t, options) => observed.observedDevice(t, chromium, options);
const meet = (t, session, options) => observed.meetObserved(t, chromium, session, options);
const encrypted = (request = {}) => service.session({ media: 'MEDIA_SFU', end_to_end_encrypted: true, ...request });

/** Whoever has the node: a participant that others do not see, and that has no key. */
async function spyOn(t, session) {
  const { session: now } = await session.rpc('GetSession');
  const page = await (await device(t, chromium)).newPage();
  await page.addScriptTag({ path: LIBRARY });
  const seconds = Math.floor(Date.now() / 1000);
  const video = { roomJoin: true, room: now.roomName, canPublish: false, canSubscribe: true, hidden: true };
  const token = server.token({ sub: 'spy', nbf: seconds - 60, exp: seconds + 600, video });
  await page.evaluate(async ([url, given]) => {
    window.room = new window.LivekitClient.Room();
    window.room.on('trackSubscribed', (track) => document.body.append(track.attach()));
    await window.room.connect(url, given);
  }, [server.url.replace('http', 'ws'), token]);
  return page;
}

/** What the spy has got of all that is sent, and could make of it. */
const loot = (page) => page.evaluate(async () => {
  const sum = { bytes: 0, received: 0, frames: 0 };
  for (const { trackPublications } of window.room.remoteParticipants.values()) {
    for (const { track } of trackPublications.values()) {
      if (track?.kind !== 'video') continue;
      for (const entry of (await track.getRTCStatsReport()).values()) {
        if (entry.type !== 'inbound-rtp') continue;
        sum.bytes += entry.bytesReceived;
        sum.received += entry.framesReceived;
        sum.frames += entry.framesDecoded;
      }
    }
  }
  return sum;
});

/** Four software browsers on two cores send few frames. */
const SPYING_MS = 90_000;

/** The spy gets the pictures, and cannot read them. */
async function seesNothing(t, spy) {
  await until('the spy has got the pictures', async () => {
    const { bytes, received } = await loot(spy);
    return bytes > 100_000 && received > 60;
  }, SPYING_MS);
  const { bytes, received, frames } = await loot(spy);
  t.diagnostic(`the spy made ${frames} frames of ${received} that came with ${bytes} bytes`);
  // The start of a frame is not encrypted, so a decoder may take one for a picture, of noise.
  assert.ok(frames * 10 < received, 'the spy sees nothing');
}

/** The indexes of the keys that a page has sent. */
const sentIndexes = (page) => page.evaluate(() => [...new Set(window.observed.keys.filter(({ sealed }) => sealed).map(({ sealed }) => sealed.index))]);

test('two participants see and hear each other, and the node does not', { timeout: 300_000 }, async (t) => {
  // Without this, the test could not tell encryption from a spy that sees nothing anyway.
  const plain = await service.session({ media: 'MEDIA_SFU' });
  const open = await meet(t, plain);
  const spyOnPlain = await spyOn(t, plain);
  await until('a spy sees a call that is not encrypted', async () => {
    const { received, frames } = await loot(spyOnPlain);
    return received > 60 && frames * 2 > received;
  });
  await Promise.all([spyOnPlain, open.doctor, open.patient].map((page) => page.close()));

  const session = await encrypted();
  const { doctor, patient } = await meet(t, session);
  for (const page of [doctor, patient]) {
    await goesThrough(page, server);
    const before = await traffic(page);
    await until('sound and more frames', async () => {
      const { framesDecoded, energy } = await traffic(page);
      return framesDecoded > before.framesDecoded && energy > before.energy;
    });
  }
  const tracks = (await server.participants(session)).flatMap(({ tracks: all }) => all ?? []);
  assert.deepEqual([...new Set(tracks.map(({ encryption }) => encryption))], ['GCM'], 'every track is said to be encrypted');
  await seesNothing(t, await spyOn(t, session));
  await Promise.all([seen(patient), seen(doctor)]);
});

test('a third comes and goes, and everyone takes a new key', { timeout: 300_000 }, async (t) => {
  const session = await encrypted();
  const { doctor, patient } = await meet(t, session);
  const interpreter = await goIn(await observedDevice(t, PHONE), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await screen(interpreter, 'call');
  const all = { 'Dr. Ana Ruiz': doctor, 'Rosa Pérez': patient, Ivo: interpreter };
  for (const [own, page] of Object.entries(all)) for (const name of Object.keys(all)) if (name !== own) await seen(page, { name });
  const observer = await goIn(await observedDevice(t), await session.invite('ROLE_OBSERVER', 'Olga'));
  await screen(observer, 'call');
  for (const name of Object.keys(all)) await seen(observer, { name });
  assert.deepEqual(await sentIndexes(observer), [], 'who publishes nothing needs no key');
  const before = Math.max(...(await sentIndexes(doctor)));
  await click(interpreter, 'leave');
  await ended(interpreter, 'left');
  for (const page of [doctor, patient]) await until('a new key', async () => (await sentIndexes(page)).some((index) => index > before));
  for (const [page, name] of [[doctor, 'Rosa Pérez'], [patient, 'Dr. Ana Ruiz'], [observer, 'Dr. Ana Ruiz']]) await seen(page, { name });
  await patient.reload();
  await screen(patient, 'call');
  await Promise.all([seen(patient, { name: 'Dr. Ana Ruiz' }), seen(doctor, { name: 'Rosa Pérez' }), seen(observer, { name: 'Rosa Pérez' })]);
});

test('keys that are lost on their way are asked for again', async (t) => {
  const losing = `{
    let lost = 0;
    const Socket = window.WebSocket;
    window.WebSocket = class extends Socket {
      constructor(...given) {
        super(...given);
        super.addEventListener('message', (event) => {
          if (lost === 3 || typeof event.data !== 'string' || !event.data.includes('"type":"key"')) return;
          lost += 1;
          window.lostKeys = lost;
          event.stopImmediatePropagation();
        });
      }
    };
  }`;
  const { patient } = await meet(t, await encrypted(), { patient: { script: losing } });
  assert.equal(await patient.evaluate(() => window.lostKeys), 3);
});

test('a call between browsers, with a shown screen, stays encrypted when the third moves it to the node', { timeout: 300_000 }, async (t) => {
  const session = await encrypted({ media: 'MEDIA_AUTO' });
  const { doctor, patient } = await meet(t, session, { doctor: { script: SQUARE_SCREEN } });
  await click(doctor, 'share');
  await presenterSeen(patient);
  for (const page of [doctor, patient]) await goesPast(page, server);
  await patient.locator('.tile.large video').evaluate((video) => video.addEventListener('resize', () => (window.isNoScreen ||= video.videoWidth !== video.videoHeight)));
  const interpreter = await goIn(await observedDevice(t, PHONE), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await Promise.all([doctor, patient, interpreter].map((page) => goesThrough(page, server, 120_000)));
  await Promise.all([seen(doctor, { name: 'Rosa Pérez' }), seen(patient, { name: 'Dr. Ana Ruiz' }), seen(doctor, { name: 'Ivo' }), seen(interpreter, { name: 'Rosa Pérez' })]);
  for (const page of [patient, interpreter]) await presenterSeen(page);
  assert.ok(!(await patient.evaluate(() => window.isNoScreen)), 'the camera never takes its place');
  assert.deepEqual((await server.participants(session)).flatMap(({ tracks }) => tracks ?? []).filter(({ encryption }) => encryption !== 'GCM'), [], 'every track is said to be encrypted');
  await seesNothing(t, await spyOn(t, session));
});

test('a browser that cannot encrypt says so and sends nothing', async (t) => {
  const script = `{
    delete window.RTCRtpScriptTransform;
    delete RTCRtpSender.prototype.createEncodedStreams;
  }`;
  const session = await encrypted();
  const doctor = await goIn(await observedDevice(t, DESKTOP), await session.doctor());
  await screen(doctor, 'call');
  const patient = await goIn(await observedDevice(t, { ...PHONE, script }), await session.patient());
  await ended(patient, 'no-encryption');
  assert.equal(await patient.locator('#end-title').textContent(), 'This browser cannot take part');
  const identities = (await server.participants(session)).map(({ identity }) => identity);
  assert.ok(!identities.includes('patient-1'), 'it never reached the node');
});
