// Pages that tell a test what their connections do.

import assert from 'node:assert/strict';

import { DESKTOP, PHONE, device, goIn, screen, seen, until } from './support.mjs';

/** Keeps the page's peer connections, what the policy forbade it, and when media came. */
const OBSERVED = `{
  window.observed = { connections: [], violations: [], frames: [], presented: [], changes: [], losses: [], connectedAt: 0, keys: [], reports: [] };
  document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => observed.violations.push(violatedDirective + ' ' + blockedURI));
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(...given) {
      super(...given);
      observed.connections.push(this);
    }
    close() {
      this.closedAt ??= performance.timeOrigin + performance.now();
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
    send(data) {
      if (typeof data === 'string' && data.includes('"type":"key"')) observed.keys.push(JSON.parse(data).data);
      if (typeof data === 'string' && data.includes('"type":"quality"')) observed.reports.push(JSON.parse(data).data);
      super.send(data);
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
    const note = (_, { presentedFrames }) => {
      observed.frames.push(performance.now());
      observed.presented.push(presentedFrames);
      video.requestVideoFrameCallback(note);
    };
    video.requestVideoFrameCallback(note);
  }).observe(document, { childList: true, subtree: true });
}`;

/** A participant's device whose page must keep to its policy. */
export async function observedDevice(t, launched, options = {}) {
  const context = await device(t, launched, { ...options, script: OBSERVED + (options.script ?? '') });
  t.after(async () => {
    for (const page of context.pages()) assert.deepEqual(await page.evaluate(() => window.observed.violations), [], 'the policy forbade the page something');
  });
  return context;
}

/** A doctor and a patient in a call, who see each other. */
export async function meetObserved(t, launched, session, { link = (url) => url, patient: patientOptions = {}, doctor: doctorOptions = {} } = {}) {
  const [doctorAt, patientAt] = [await observedDevice(t, launched, { ...DESKTOP, ...doctorOptions }), await observedDevice(t, launched, { ...PHONE, ...patientOptions })];
  const patient = await goIn(patientAt, link(await session.patient()));
  const doctor = await goIn(doctorAt, await session.doctor());
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await Promise.all([seen(patient), seen(doctor)]);
  return { doctor, patient };
}

/** A device whose screen is square, so that it can be told from a camera. */
export const SQUARE_SCREEN = `if (navigator.mediaDevices) navigator.mediaDevices.getDisplayMedia = async () => {
  const canvas = Object.assign(document.createElement('canvas'), { width: 600, height: 600 });
  const paper = canvas.getContext('2d');
  setInterval(() => {
    paper.fillStyle = 'hsl(' + (performance.now() / 20) % 360 + ' 80% 50%)';
    paper.fillRect(0, 0, 600, 600);
  }, 100);
  return canvas.captureStream(15);
};`;

/** A device whose camera's picture is small: three pages of one machine can show each other without waiting for it. */
export const SMALL_CAMERA = `if (navigator.mediaDevices) {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = ({ video, ...rest }) =>
    ask({ ...rest, video: video && { ...video, width: 320, height: 180, frameRate: 20 } });
}`;

/** Somebody's square screen is large, and their camera moves beside it. */
export async function presenterSeen(page) {
  const shown = () => page.evaluate(() => {
    const beside = document.querySelector('[data-testid=beside] video');
    const screen = beside && document.querySelector(`.tile.large[data-user-id="${beside.closest('.tile').dataset.userId}"] [data-testid=remote-video]`);
    return screen && { isScreen: screen.videoWidth > 0 && screen.videoWidth === screen.videoHeight, isCamera: beside.videoWidth > beside.videoHeight, frames: beside.getVideoPlaybackQuality().totalVideoFrames };
  });
  const first = await until('a screen, and a camera beside it', async () => {
    const now = await shown();
    return now?.isScreen && now.isCamera && now;
  });
  await until('the camera beside the screen moves', async () => {
    const now = await shown();
    // A new connection counts from nothing again.
    if (now?.frames < first.frames) first.frames = now.frames;
    return now?.isScreen && now.isCamera && now.frames >= first.frames + 5;
  });
}

/** What a page sends and receives over all its open connections. */
export function traffic(page) {
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

/** Every connection that the page has open leads to that LiveKit server. */
export async function goesThrough(page, server, within) {
  await until('all media goes through the node', async () => {
    const { ports } = await traffic(page);
    if (ports.length > 0 && ports.every((port) => server.mediaPorts.includes(port))) return true;
    // To ask costs a busy page more than the answer is worth.
    await page.waitForTimeout(500);
    return false;
  }, within);
}

/** None of the connections that the page has open leads to that LiveKit server. */
export const goesPast = (page, server) => until('no media goes through the node', async () => {
  const { ports } = await traffic(page);
  return ports.length > 0 && !ports.some((port) => server.mediaPorts.includes(port));
});

/** When the first frame was shown, counted from `connected`, in milliseconds. */
export const firstFrameAfter = (page) => page.evaluate(() => Math.round(window.observed.frames[0] - window.observed.connectedAt));

/** A page that takes so much longer than others to see that a picture moves. */
export const hesitant = (delayMs) => `{
  const ask = HTMLVideoElement.prototype.requestVideoFrameCallback;
  HTMLVideoElement.prototype.requestVideoFrameCallback = function (callback) {
    // The page looks at pictures that it does not show yet in an element of its own.
    if (this.isConnected || this.asked) return ask.call(this, callback);
    this.asked = true;
    return setTimeout(() => ask.call(this, callback), ${delayMs});
  };
}`;

/** From now on, notes whatever the page shows instead of that participant's picture. */
export function watch(page, userId) {
  return page.evaluate((userId) => {
    const tile = document.querySelector(`[data-testid=remote][data-user-id="${userId}"]`);
    const video = tile.querySelector('video');
    const wrong = () => {
      if (!video.isConnected || document.querySelector(`[data-testid=remote][data-user-id="${userId}"]`) !== tile) return 'the tile is gone';
      // That a picture stands still is told while connected, too: on a loaded machine, it does.
      if (tile.dataset.state !== 'connected') return `the tile says ${tile.dataset.state}`;
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

/**
 * The longest times without a new picture since then, in milliseconds: around the change to another way, and otherwise. A page that is
 * busy hears of a picture late, and of several at once. The browser shows at most one in each 16.7 ms, so all but one of those that it
 * counts shorten the longest time that can have passed without one by as much.
 */
export function gaps(page, since) {
  return page.evaluate((since) => {
    const { frames, presented, changes } = window.observed;
    const change = changes[changes.length - 1];
    // A new track may be counted from nothing again.
    const unheard = (place) => Math.max(0, presented[place] - presented[place - 1] - 1);
    const longest = (among) => Math.round(Math.max(0, ...among.map(([from, to, more]) => to - from - (more * 1000) / 60)));
    const all = frames.map((to, place) => [frames[place - 1], to, unheard(place)]).filter(([from]) => from >= since);
    const around = ([from, to]) => to > change - 50 && from < change + 500;
    return { atTheChange: longest(all.filter(around)), otherwise: longest(all.filter((gap) => !around(gap))) };
  }, since);
}

export const now = (page) => page.evaluate(() => performance.now());
