// Whether calls can work from here: how the service is reached and, if there is a TURN server, whether data comes through it.
//
// Without a TURN server, a page that connects to itself never leaves the device, and would always succeed. So then only what leaves
// the device is tested: the service, and whether a STUN server answers.

import { fetchWithin } from './dom.js';

const ANSWER_MS = 5000;
const CONNECT_MS = 10_000;
const PINGS = 4;
// As much as a call's sound and a small picture: 400 kbit/s for two seconds.
const PACKETS = 100;
const EVERY_MS = 20;
const PACKET_BYTES = 1000;
const AFTERWARDS_MS = 1000;

const LOSS_MAX = 0.05;
const ROUND_TRIP_MAX_MS = 500;
const SERVICE_MAX_MS = 800;

/** The middle one of some numbers; `Infinity` if there are none. */
export const median = (numbers) => [...numbers].sort((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? Infinity;

const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * The verdict on what was measured: `serviceMs`, the service's answer; `way`, by what was tested: `relay`, `stun` or `service`; `isOpen`,
 * whether that works; and for `relay` the `lost` part and `roundTripMs`. `good`, `service` (good, and more is not known), `weak`, `bad`
 * or `offline`.
 */
export function judge({ serviceMs, way, isOpen, lost = 0, roundTripMs = 0 }) {
  if (serviceMs === Infinity) return 'offline';
  if (!isOpen) return 'bad';
  if (serviceMs > SERVICE_MAX_MS || lost > LOSS_MAX || roundTripMs > ROUND_TRIP_MAX_MS) return 'weak';
  return way === 'service' ? 'service' : 'good';
}

async function measureService(url) {
  const taken = [];
  for (let count = 0; count < PINGS; count += 1) {
    const from = performance.now();
    const answer = await fetchWithin(ANSWER_MS, url, { method: 'HEAD', cache: 'no-store' }).catch(() => null);
    if (answer?.ok) taken.push(performance.now() - from);
  }
  // The first one also opened the connection.
  return median(taken.length > 1 ? taken.slice(1) : taken);
}

const has = (servers, scheme) => servers.some(({ urls }) => [urls].flat().some((url) => url.startsWith(scheme)));

/** Whether a STUN server says how this device is seen from outside. */
async function answersStun(configuration) {
  const pc = new RTCPeerConnection(configuration);
  try {
    const seen = new Promise((resolve) => pc.addEventListener('icecandidate', ({ candidate }) => candidate?.type === 'srflx' && resolve(true)));
    pc.createDataChannel('test');
    await pc.setLocalDescription(await pc.createOffer());
    return await Promise.race([seen, wait(ANSWER_MS).then(() => false)]);
  } finally {
    pc.close();
  }
}

/** Sends packets from this page to itself and back, the first half of the way through the TURN server. */
async function measureRelay(configuration) {
  const pcs = [new RTCPeerConnection({ ...configuration, iceTransportPolicy: 'relay' }), new RTCPeerConnection(configuration)];
  try {
    const [here, there] = pcs;
    for (const [from, to] of [[here, there], [there, here]]) {
      from.addEventListener('icecandidate', ({ candidate }) => candidate && to.addIceCandidate(candidate).catch(() => {}));
    }
    // Like media: what is lost is not sent again.
    const channel = here.createDataChannel('test', { ordered: false, maxRetransmits: 0 });
    there.addEventListener('datachannel', ({ channel: echo }) => echo.addEventListener('message', ({ data }) => echo.readyState === 'open' && echo.send(data)));
    const opened = new Promise((resolve) => channel.addEventListener('open', () => resolve(true)));
    await here.setLocalDescription(await here.createOffer());
    await there.setRemoteDescription(here.localDescription);
    await there.setLocalDescription(await there.createAnswer());
    await here.setRemoteDescription(there.localDescription);
    if (!(await Promise.race([opened, wait(CONNECT_MS).then(() => false)]))) return { isOpen: false };
    return { isOpen: true, ...(await exchange(channel)) };
  } finally {
    for (const pc of pcs) pc.close();
  }
}

async function exchange(channel) {
  const sentAt = [];
  const taken = new Map();
  channel.addEventListener('message', ({ data }) => {
    const index = Number.parseInt(data, 10);
    if (index in sentAt && !taken.has(index)) taken.set(index, performance.now() - sentAt[index]);
  });
  for (let index = 0; index < PACKETS && channel.readyState === 'open'; index += 1) {
    sentAt.push(performance.now());
    channel.send(String(index).padEnd(PACKET_BYTES));
    await wait(EVERY_MS);
  }
  const deadline = performance.now() + AFTERWARDS_MS;
  while (taken.size < PACKETS && performance.now() < deadline) await wait(EVERY_MS);
  return { lost: 1 - taken.size / PACKETS, roundTripMs: median([...taken.values()]) };
}

/** Tests everything and returns the verdict. `ice` is the address of the ICE servers. */
export async function testConnection({ ice }) {
  const serviceMs = await measureService(import.meta.url);
  if (serviceMs === Infinity) return 'offline';
  const answer = await fetchWithin(ANSWER_MS, ice, { cache: 'no-store' }).catch(() => null);
  if (!answer?.ok) return 'offline';
  const { ice_servers: iceServers, ice_policy: policy } = await answer.json();
  const configuration = { iceServers, iceTransportPolicy: policy };
  try {
    if (has(iceServers, 'turn')) return judge({ serviceMs, way: 'relay', ...(await measureRelay(configuration)) });
    if (has(iceServers, 'stun')) return judge({ serviceMs, way: 'stun', isOpen: await answersStun(configuration) });
    return judge({ serviceMs, way: 'service', isOpen: true });
  } catch {
    return 'bad';
  }
}
