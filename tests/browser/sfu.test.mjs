// Calls through a real LiveKit node, and calls that move to one and back.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LiveKitServer } from './livekit.mjs';
import { DESKTOP, PHONE, Service, Wire, browser, click, device, ended, freePort, goIn, hidden, received, screen, seen, until, visible } from './support.mjs';

/** How often to measure what is only printed. */
const ROUNDS = Number(process.env.VIDEO_SESSION_ROUNDS ?? 1);

const [chromium, server, wirePort] = await Promise.all([browser(), LiveKitServer.start(), freePort()]);
// A page over a wire has another origin than the service's own.
const service = await Service.start({ ...(await LiveKitServer.nodes(server)), HTTP_ALLOWED_ORIGINS: `http://127.0.0.1:${wirePort}` });

/** Keeps the page's peer connections, what the policy forbade it, and when media came. */
const OBSERVED = `{
  window.observed = { connections: [], violations: [], frames: [], changes: [], closes: [], losses: [], connectedAt: 0 };
  document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => observed.violations.push(violatedDirective + ' ' + blockedURI));
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) {
      super(...given);
      observed.connections.push(this);
    }
    close() {
      observed.closes.push(performance.timeOrigin + performance.now());
      super.close();
    }
  };
  const Socket = window.WebSocket;
  window.WebSocket = class extends Socket {
    constructor(...given) {
      super(...given);
      const hear = ({ data }) => typeof data === 'string' && data.includes('"type":"connected"') && (observed.connectedAt ||= performance.now());
      super.addEventListener('message', hear);
    }
  };
  new MutationObserver((changes, observer) => {
    const video = document.querySelector('[data-testid=remote-video]');
    if (!video) return;
    observer.disconnect();
    // When the picture that is shown changes over to another track.
    const add = MediaStream.prototype.addTrack;
    MediaStream.prototype.addTrack = function (track) {
      if (this === video.srcObject && track.kind === 'video' && !this.getTracks().includes(track)) observed.changes.push(performance.now());
      add.call(this, track);
    };
    const note = () => {
      observed.frames.push(performance.now());
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }).observe(document, { childList: true, subtree: true });
}`;

/** A participant's device whose page must keep to its policy. */
async function observedDevice(t, options = {}) {
  const context = await device(t, chromium, { ...options, script: OBSERVED + (options.script ?? '') });
  t.after(async () => {
    for (const page of context.pages()) assert.deepEqual(await page.evaluate(() => window.observed.violations), [], 'the policy forbade the page something');
  });
  return context;
}

async function meet(t, session, { link = (url) => url, patient: patientOptions = {} } = {}) {
  const [doctorAt, patientAt] = [await observedDevice(t, DESKTOP), await observedDevice(t, { ...PHONE, ...patientOptions })];
  const patient = await goIn(patientAt, link(await session.patient()));
  const doctor = await goIn(doctorAt, await session.doctor());
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await Promise.all([seen(patient), seen(doctor)]);
  return { doctor, patient };
}

const throughNode = (request = {}) => service.session({ media: 'MEDIA_SFU', ...request });

/** What a page sends and receives over all its open connections. */
function traffic(page) {
  return page.evaluate(async () => {
    const sum = { framesDecoded: 0, energy: 0, packetsSent: 0, ports: [] };
    for (const connection of window.observed.connections) {
      if (connection.connectionState === 'closed') continue;
      const report = await connection.getStats();
      for (const entry of report.values()) {
        if (entry.type === 'inbound-rtp') {
          sum.framesDecoded += entry.framesDecoded ?? 0;
          sum.energy += entry.totalAudioEnergy ?? 0;
        } else if (entry.type === 'outbound-rtp') sum.packetsSent += entry.packetsSent;
        else if (entry.type === 'transport' && entry.selectedCandidatePairId) {
          sum.ports.push(report.get(report.get(entry.selectedCandidatePairId).remoteCandidateId).port);
        }
      }
    }
    return sum;
  });
}

/** Every connection that the page has open leads to the node. */
async function goesThroughNode(page, within) {
  await until('all media goes through the node', async () => {
    const { ports } = await traffic(page);
    if (ports.length > 0 && ports.every((port) => server.mediaPorts.includes(port))) return true;
    // To ask costs a busy page more than the answer is worth.
    await page.waitForTimeout(500);
    return false;
  }, within);
}

const goesDirectly = (page) => until('all media goes directly', async () => {
  const { ports } = await traffic(page);
  return ports.length > 0 && !ports.some((port) => server.mediaPorts.includes(port));
});

/** When the first frame was shown, counted from `connected`, in milliseconds. */
const firstFrameAfter = (page) => page.evaluate(() => Math.round(window.observed.frames[0] - window.observed.connectedAt));

/** A page that takes so much longer than others to see that a picture moves. */
const hesitant = (delayMs) => `{
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
    // The page looks at pictures that it does not show yet in an element of its own.
    if (this.isConnected || this.asked) return ask.call(this, callback);
    this.asked = true;
    return setTimeout(() => ask.call(this, callback), ${delayMs});
  };
}`;

/** From now on, notes whatever the page shows instead of that participant's picture. */
function watch(page, userId) {
  return page.evaluate((userId) => {
    const tile = document.querySelector(`[data-testid=remote][data-user-id="${userId}"]`);
    const video = tile.querySelector('video');
    const wrong = () => {
      if (!video.isConnected || document.querySelector(`[data-testid=remote][data-user-id="${userId}"]`) !== tile) return 'the tile is gone';
      if (tile.dataset.state !== 'connected' || !tile.querySelector('.tile-state').hidden) return `the tile says ${tile.dataset.state}`;
      if (video.classList.contains('dark') || !tile.querySelector('.tile-off').hidden) return 'the tile is dark';
      if (!video.srcObject?.getVideoTracks().some(({ readyState }) => readyState === 'live')) return 'no track';
      return video.paused || video.videoWidth === 0 ? 'no frame' : null;
    };
    const look = () => {
      const what = wrong();
      if (what && !observed.losses.includes(what)) observed.losses.push(what);
    };
    new MutationObserver(look).observe(tile, { childList: true, subtree: true, attributes: true });
    const remove = MediaStream.prototype.removeTrack;
    MediaStream.prototype.removeTrack = function (track) {
      remove.call(this, track);
      look();
    };
    setInterval(look, 100);
    look();
  }, userId);
}

/** The longest times without a new frame since then, in milliseconds: around the change to another way, and otherwise. */
function gaps(page, since) {
  return page.evaluate((since) => {
    const { frames, changes } = window.observed;
    const change = changes[changes.length - 1];
    const longest = (among) => Math.round(Math.max(0, ...among.map(([from, to]) => to - from)));
    const all = frames.slice(1).map((to, place) => [frames[place], to]).filter(([from]) => from >= since);
    const around = ([from, to]) => to > change - 50 && from < change + 500;
    return { atTheChange: longest(all.filter(around)), otherwise: longest(all.filter((gap) => !around(gap))) };
  }, since);
}

const now = (page) => page.evaluate(() => performance.now());

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

test('a screen is shown with and without a camera, and the camera afterwards', async (t) => {
  const session = await throughNode();
  const { doctor, patient } = await meet(t, session);
  const sources = async () => (await server.participants(session)).find(({ identity }) => identity === 'doctor-1').tracks.map(({ source }) => source).sort();
  await click(doctor, 'share');
  await until('the screen is published as one', async () => (await sources()).join() === 'MICROPHONE,SCREEN_SHARE');
  await seen(patient);
  await click(doctor, 'stop-share');
  await until('the camera is back', async () => (await sources()).join() === 'CAMERA,MICROPHONE');
  await seen(patient);
  await click(doctor, 'camera');
  await patient.locator('.tile-off').waitFor();
  await click(doctor, 'share');
  await patient.locator('.tile-off').waitFor({ state: 'hidden' });
  await seen(patient);
});

test('an interpreter is the third, and an observer sees all and sends nothing', { timeout: 300_000 }, async (t) => {
  const session = await throughNode();
  const { doctor, patient } = await meet(t, session);
  const interpreter = await goIn(await observedDevice(t, PHONE), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await screen(interpreter, 'call');
  const all = { 'Dr. Ana Ruiz': doctor, 'Rosa Pérez': patient, Ivo: interpreter };
  for (const [own, page] of Object.entries(all)) for (const name of Object.keys(all)) if (name !== own) await seen(page, { name });
  const observer = await goIn(await observedDevice(t), await session.invite('ROLE_OBSERVER', 'Olga'));
  await screen(observer, 'call');
  for (const name of Object.keys(all)) await seen(observer, { name });
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
  const { doctor, patient } = await meet(t, await throughNode());
  await server.stop('SIGKILL');
  await until('the loss is shown', async () => (await patient.getByTestId('remote').first().getAttribute('data-state')) !== 'connected', 30_000);
  await server.run();
  const started = Date.now();
  await until('both are back', async () => {
    const states = await Promise.all([doctor, patient].map((page) => page.getByTestId('remote').first().getAttribute('data-state')));
    return states.every((state) => state === 'connected');
  }, 60_000);
  await Promise.all([seen(patient), seen(doctor)]);
  t.diagnostic(`both see each other ${Date.now() - started} ms after the node answers`);
});

test('the third moves a call to the node, and the picture goes on', { timeout: 300_000 }, async (t) => {
  const session = await service.session({ media: 'MEDIA_AUTO' });
  const { doctor, patient } = await meet(t, session, { patient: { script: hesitant(3000) } });
  const both = [doctor, patient];
  for (const page of both) await goesDirectly(page);
  await Promise.all([watch(doctor, 'patient-1'), watch(patient, 'doctor-1')]);
  const before = await Promise.all(both.map(now));
  const interpreter = await goIn(await observedDevice(t, PHONE), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  await screen(interpreter, 'call');
  // Each waits for the others' pictures, and for the others to have theirs.
  await Promise.all([...both, interpreter].map((page) => goesThroughNode(page, 120_000)));
  await Promise.all([seen(doctor, { name: 'Rosa Pérez' }), seen(patient, { name: 'Dr. Ana Ruiz' }), seen(doctor, { name: 'Ivo' }), seen(patient, { name: 'Ivo' })]);
  const observed = await Promise.all(both.map((page) => page.evaluate(() => {
    const { losses, closes, changes, connections } = window.observed;
    return { losses, closed: closes[0], changed: performance.timeOrigin + changes[changes.length - 1], direct: connections[0].connectionState };
  })));
  for (const [at, page] of both.entries()) {
    const [own, other] = [observed[at], observed[1 - at]];
    assert.deepEqual(own.losses, [], 'the picture is never lost');
    assert.equal(own.direct, 'closed');
    assert.ok(own.closed > other.changed, `the old way was closed ${Math.round(other.changed - own.closed)} ms before the other had changed over`);
    // How long it takes depends on what else the machine does.
    const { atTheChange, otherwise } = await gaps(page, before[at]);
    t.diagnostic(`without a new frame: ${atTheChange} ms at the change, ${otherwise} ms otherwise`);
  }
});
