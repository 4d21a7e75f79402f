// Calls through a real LiveKit node, and calls that move to one and back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LiveKitServer } from './livekit.mjs';
import * as observed from './observed.mjs';
import { SMALL_CAMERA, SQUARE_SCREEN, firstFrameAfter, gaps, hesitant, now, presenterSeen, traffic, watch } from './observed.mjs';
import { DESKTOP, PHONE, Service, Wire, browser, click, ended, freePort, goIn, hidden, screen, seen, until, visible } from './support.mjs';

/** How often to measure what is only printed. */
const ROUNDS = Number(process.env.VIDEO_SESSION_ROUNDS ?? 1);

const [chromium, server, wirePort] = await Promise.all([browser(), LiveKitServer.start(), freePort()]);
// A page over a wire has another origin than the service's own.
const service = await Service.start({ ...(await LiveKitServer.nodes(server)), HTTP_ALLOWED_ORIGINS: `http://127.0.0.1:${wirePort}` });

const observedDevice = (t, options) => observed.observedDevice(t, chromium, options);
const meet = (t, session, options) => observed.meetObserved(t, chromium, session, options);
const goesThroughNode = (page, within) => observed.goesThrough(page, server, within);
const goesDirectly = (page) => observed.goesPast(page, server);

const throughNode = (request = {}) => service.session({ media: 'MEDIA_SFU', ...request });

test('two participants see and hear each other through the node', async (t) => {
  const session = await throughNode();
  const { doctor, patient } = await meet(t, session);
  for (const page of [doctor, patient]) {
    await goesThroughNode(page);
    const before = await traffic(page);
    await until('sound and more frames', async () => {
      const { framesDecoded, energy } = await traffic(page);
      return framesDecoded > before.framesDecoded && energy > before.energy;
    });
  }
  t.diagnostic(`first remote frame after connected: patient ${await firstFrameAfter(patient)} ms, doctor ${await firstFrameAfter(doctor)} ms`);
});

test('the first frame, from browser to browser and through the node', { timeout: 300_000 }, async (t) => {
  const times = { MEDIA_PEER_TO_PEER: [], MEDIA_SFU: [] };
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const media of Object.keys(times)) {
      const session = await service.session({ media });
      const doctor = await goIn(await observedDevice(t, DESKTOP), await session.doctor());
      await screen(doctor, 'call');
      const patient = await goIn(await observedDevice(t, PHONE), await session.patient());
      await until('a frame', () => patient.evaluate(() => window.observed.frames.length > 0));
      times[media].push(await firstFrameAfter(patient));
      for (const page of [doctor, patient]) await page.close();
    }
  }
  t.diagnostic(`first remote frame of whoever comes second: ${JSON.stringify(times)} ms`);
});

test('mute is seen by the other, and can be asked for', async (t) => {
  const { doctor, patient } = await meet(t, await throughNode());
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted');
  const silent = async () => {
    const { energy } = await traffic(doctor);
    await doctor.waitForTimeout(1000);
    return (await traffic(doctor)).energy - energy < 1e-4;
  };
  await until('nothing is heard', silent);
  await click(patient, 'mute');
  await hidden(doctor, 'remote-muted');
  await until('they are heard again', async () => !(await silent()));
  await click(doctor, 'people');
  await click(doctor, 'mute-other');
  await visible(doctor, 'remote-muted');
  await until('nothing is heard', silent);
});

test('a camera that is off sends nothing, and comes back', async (t) => {
  const { doctor, patient } = await meet(t, await throughNode());
  for (let round = 0; round < 2; round += 1) {
    await click(patient, 'camera');
    await doctor.locator('.tile-off').waitFor();
    await until('no frames come any more', async () => {
      const before = (await traffic(doctor)).framesDecoded;
      await doctor.waitForTimeout(1000);
      return (await traffic(doctor)).framesDecoded === before;
    });
    await click(patient, 'camera');
    await doctor.locator('.tile-off').waitFor({ state: 'hidden' });
    await seen(doctor);
  }
});

test('the other camera of a phone', async (t) => {
  const { doctor, patient } = await meet(t, await throughNode());
  await click(patient, 'more');
  await click(patient, 'flip');
  await seen(doctor);
});

/** Leaves, once the page has told the service how good the connection through the node was; the event says the same. */
async function reportsQuality(page, session) {
  const seconds = ({ good, ...troubles }) => Object.values(troubles).flatMap(Object.values).reduce((sum, some) => sum + some, good);
  const reports = () => page.evaluate(() => window.observed.reports);
  await until('a report of some seconds', async () => (await reports()).some((report) => seconds(report) > 1));
  await click(page, 'leave');
  const { participantLeft } = await until('the event', async () => (await session.rpc('ListSessionEvents', { page_size: 100 })).events.find(({ type }) => type === 'participant.left'));
  const { goodSeconds, troubles = [] } = participantLeft.quality;
  assert.equal(troubles.reduce((sum, trouble) => sum + trouble.seconds, goodSeconds), seconds((await reports()).pop()), JSON.stringify(participantLeft));
}

test('a screen is shown with and without the camera beside it, and the camera afterwards', { timeout: 300_000 }, async (t) => {
  const session = await throughNode();
  const { doctor, patient } = await meet(t, session, { doctor: { script: SQUARE_SCREEN } });
  const sent = async () => (await server.participants(session)).find(({ identity }) => identity === 'doctor-1').tracks.filter(({ muted }) => !muted).map(({ source }) => source).sort().join();
  // The client stops sending the camera in sizes that nobody asks the node for.
  const sizes = () => doctor.evaluate(() => window.observed.connections.flatMap((connection) => connection.getSenders()).map((sender) => sender.getParameters().encodings ?? [])
    .filter((encodings) => encodings.length > 1).map((encodings) => encodings.filter(({ active }) => active).length));
  await click(doctor, 'share');
  await until('the screen and the camera are published', async () => (await sent()) === 'CAMERA,MICROPHONE,SCREEN_SHARE');
  await Promise.all([seen(patient), presenterSeen(patient)]);
  await until('the camera is needed in its smallest size', async () => Math.max(...(await sizes())) === 1);
  await patient.getByTestId('beside').getByTestId('pin').click();
  await until('and in a larger one once it is chosen', async () => Math.max(...(await sizes())) > 1);
  await patient.reload();
  await screen(patient, 'call');
  await Promise.all([seen(patient), presenterSeen(patient)]);
  await click(doctor, 'camera');
  await hidden(patient, 'beside');
  await until('the camera is muted', async () => (await sent()) === 'MICROPHONE,SCREEN_SHARE');
  await seen(patient);
  await click(doctor, 'camera');
  await presenterSeen(patient);
  await click(doctor, 'stop-share');
  await until('the camera is left', async () => (await sent()) === 'CAMERA,MICROPHONE');
  await hidden(patient, 'beside');
  await seen(patient);
  await click(doctor, 'camera');
  await patient.locator('.tile-off').waitFor();
  await click(doctor, 'share');
  await patient.locator('.tile-off').waitFor({ state: 'hidden' });
  await seen(patient);
  assert.equal(await patient.getByTestId('beside').count(), 0);
  await reportsQuality(patient, session);
});

test('an interpreter is the third, and an observer sees all, a shown screen too, and sends nothing', { timeout: 300_000 }, async (t) => {
  const session = await throughNode();
  const { doctor, patient } = await meet(t, session, { doctor: { script: SQUARE_SCREEN } });
  const interpreter = await goIn(await observedDevice(t, PHONE), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await screen(interpreter, 'call');
  const all = { 'Dr. Ana Ruiz': doctor, 'Rosa Pérez': patient, Ivo: interpreter };
  for (const [own, page] of Object.entries(all)) for (const name of Object.keys(all)) if (name !== own) await seen(page, { name });
  const observer = await goIn(await observedDevice(t), await session.invite('ROLE_OBSERVER', 'Olga'));
  await screen(observer, 'call');
  for (const name of Object.keys(all)) await seen(observer, { name });
  await click(doctor, 'share');
  await Promise.all([patient, interpreter, observer].map(presenterSeen));
  assert.equal((await traffic(observer)).packetsSent, 0);
  const idle = (await server.participants(session)).filter(({ tracks }) => !tracks?.length);
  assert.deepEqual(idle.map(({ permission }) => permission?.can_publish ?? false), [false], 'the node refuses what the observer might send');
  await click(interpreter, 'leave');
  await ended(interpreter, 'left');
  for (const page of [doctor, patient]) await until('the interpreter is gone', async () => (await page.getByTestId('remote').count()) === 1);
});

test('a page that is loaded again in the middle goes on by itself', async (t) => {
  const { doctor, patient } = await meet(t, await throughNode());
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted');
  for (const page of [patient, doctor]) {
    await page.reload();
    await screen(page, 'call');
    await Promise.all([seen(patient), seen(doctor)]);
  }
  assert.equal(await patient.getByTestId('mute').textContent(), 'Unmute');
  await visible(doctor, 'remote-muted');
});

test('media goes on while the service cannot be reached', { timeout: 300_000 }, async (t) => {
  const wire = await Wire.to(t, service.url, wirePort);
  const session = await throughNode();
  const { doctor, patient } = await meet(t, session, { link: (url) => wire.link(url) });
  wire.cut();
  await visible(patient, 'lost');
  await Promise.all([seen(patient), seen(doctor)]);
  wire.mend();
  await hidden(patient, 'lost', 30_000);
  await Promise.all([seen(patient), seen(doctor)]);
  await click(patient, 'mute');
  await visible(doctor, 'remote-muted');
  await goesThroughNode(patient);
});

test('who is removed is off the node, and so is everybody at the end', async (t) => {
  const session = await throughNode();
  const { doctor, patient } = await meet(t, session);
  await session.rpc('RemoveParticipant', { user_id: 'patient-1' });
  await ended(patient, 'removed');
  assert.deepEqual((await traffic(patient)).ports, [], 'the page has hung up');
  await until('the doctor is alone', async () => (await doctor.getByTestId('remote').count()) === 0);
  const identities = async () => (await server.participants(session)).map(({ identity }) => identity);
  await until('the node has let them go', async () => !(await identities()).includes('patient-1'));
  await session.end('done');
  await ended(doctor, 'ended');
  await until('nobody is on the node', async () => (await identities()).length === 0);
});

test('the node restarts in the middle of a call', { timeout: 300_000 }, async (t) => {
  const { doctor, patient } = await meet(t, await throughNode(), { doctor: { script: SQUARE_SCREEN } });
  await click(doctor, 'share');
  await presenterSeen(patient);
  await server.stop('SIGKILL');
  await until('the loss is shown', async () => (await patient.getByTestId('remote').first().getAttribute('data-state')) !== 'connected', 30_000);
  await server.run();
  const started = Date.now();
  await until('both are back', async () => {
    const states = await Promise.all([doctor, patient].map((page) => page.getByTestId('remote').first().getAttribute('data-state')));
    return states.every((state) => state === 'connected');
  }, 60_000);
  await Promise.all([seen(patient), seen(doctor), presenterSeen(patient)]);
  t.diagnostic(`both see each other ${Date.now() - started} ms after the node answers`);
});

for (let round = 1; round <= ROUNDS; round += 1) test(`the third moves a call to the node, and the picture goes on (${round})`, { timeout: 300_000 }, async (t) => {
  const session = await service.session({ media: 'MEDIA_AUTO' });
  const small = (script = '') => ({ ...PHONE, script: SMALL_CAMERA + script });
  const { doctor, patient } = await meet(t, session, { doctor: small(), patient: small(hesitant(3000)) });
  const both = [doctor, patient];
  const loaded = (page) => page.evaluate(() => performance.getEntriesByType('resource').some(({ name }) => name.includes('/livekit-client.js')));
  for (const page of both) {
    await goesDirectly(page);
    assert.equal(await loaded(page), false, 'nobody needs it yet');
  }
  await Promise.all([watch(doctor, 'patient-1'), watch(patient, 'doctor-1')]);
  const before = await Promise.all(both.map(now));
  const interpreter = await goIn(await observedDevice(t, small()), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await screen(interpreter, 'call');
  // Each waits for the others' pictures, and for the others to have theirs.
  await Promise.all([...both, interpreter].map((page) => goesThroughNode(page, 120_000)));
  await Promise.all([seen(doctor, { name: 'Rosa Pérez' }), seen(patient, { name: 'Dr. Ana Ruiz' }), seen(doctor, { name: 'Ivo' }), seen(patient, { name: 'Ivo' })]);
  const seenBy = await Promise.all(both.map((page, at) => page.evaluate((since) => {
    const { losses, changes, connections } = window.observed;
    // The first change is that to the node; a loaded machine may bring another track later.
    const changed = changes.find((time) => time > since);
    return { losses, closed: connections[0].closedAt, changed: performance.timeOrigin + changed, direct: connections[0].connectionState };
  }, before[at])));
  for (const [at, page] of both.entries()) {
    const [own, other] = [seenBy[at], seenBy[1 - at]];
    assert.deepEqual(own.losses, [], 'the picture is never lost');
    assert.equal(own.direct, 'closed');
    assert.equal(await loaded(page), true, 'it is found by this name');
    assert.ok(own.closed > other.changed, `the old way was closed ${Math.round(other.changed - own.closed)} ms before the other had changed over`);
    // How long it takes depends on what else the machine does.
    const { atTheChange, otherwise } = await gaps(page, before[at]);
    t.diagnostic(`without a new picture for at most ${atTheChange} ms at the change, ${otherwise} ms otherwise`);
  }
});
