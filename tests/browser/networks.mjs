// A patient's way to everybody else that a test can make bad: a network of the kernel's own where this process may make one, else
// proxies. Either way the doctor's browser, the service and the TURN server are on good terms with each other.

import { execFile, spawn } from 'node:child_process';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { mkdtemp, readlink, rm, writeFile } from 'node:fs/promises';
import net from 'node:net';
import { networkInterfaces, tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { CHROMIUM, Service, Turn, browser, browserAt, freePort, until } from './support.mjs';

/** What a network is like: how much of what is sent is lost, how much goes through, and whether UDP and anything at all does. */
const FINE = { lossPercent: 0, delayMs: 0, kbitsPerSec: Number.POSITIVE_INFINITY, udp: true, up: true };
/** What waits before a narrow way, at most; what comes then is dropped. */
const QUEUE_MS = 500;

/**
 * The network for a test file. `VIDEO_SESSION_NETWORK` insists on `namespaces` or `proxies`. It has the patient's and the doctor's
 * browsers, and two methods: `set(conditions)`, as `FINE`, and `service({ tcp })`: a service whose media can go over TCP, by a TURN
 * server, only if `tcp`. Of namespaces' conditions, `delayMs` is left out: not every kernel can delay.
 */
export async function network() {
  const wanted = process.env.VIDEO_SESSION_NETWORK;
  if (wanted === 'proxies') return Proxies.start();
  try {
    return await Namespaces.start();
  } catch (error) {
    if (wanted) throw error;
    console.log(`# no network namespaces here, so proxies: ${error.message.split('\n').join(' ')}`);
    return Proxies.start();
  }
}

// --- the kernel's own ---------------------------------------------------------------------------------------------------

const run = (command, ...args) => promisify(execFile)(command, args);

/** A network namespace that is gone with this process, however that ends. */
async function namespace() {
  const child = spawn('unshare', ['--net', 'cat'], { stdio: ['pipe', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => (said += data));
  const failed = new Promise((_, reject) => {
    child.on('error', reject);
    child.on('exit', (code) => reject(new Error(`unshare ended with ${code}: ${said}`)));
  });
  failed.catch(() => {});
  after(() => child.stdin.end());
  const own = await readlink('/proc/self/ns/net');
  const entered = until('a network namespace', async () => (await readlink(`/proc/${child.pid}/ns/net`).catch(() => own)) !== own);
  await Promise.race([entered, failed]);
  const inside = ['--target', String(child.pid), '--net'];
  return { pid: String(child.pid), inside, run: (command, ...args) => run('nsenter', ...inside, command, ...args) };
}

/**
 * The patient's Chromium in a namespace, behind a router in another one: what is bad is bad beyond the doctor's own interface. The
 * addresses are those set aside for measurements.
 */
class Namespaces {
  kind = 'namespaces';

  static async start() {
    const network = new Namespaces();
    const taken = Object.values(networkInterfaces()).flat().map(({ address }) => address);
    const subnet = [...Array(250).keys()].map((at) => `198.18.${(process.pid + at) % 250}`).find((one) => !taken.includes(`${one}.1`));
    network.host = `${subnet}.1`;
    const [router, patient] = [await namespace(), await namespace()];
    Object.assign(network, { router, patient });
    const link = `vs${process.pid}`;
    await run('ip', 'link', 'add', link, 'type', 'veth', 'peer', 'name', 'up0', 'netns', router.pid);
    await run('ip', 'addr', 'add', `${subnet}.1/30`, 'dev', link);
    await run('ip', 'link', 'set', link, 'up');
    await run('ip', 'route', 'add', `${subnet}.4/30`, 'via', `${subnet}.2`);
    await router.run('ip', 'link', 'add', 'down0', 'type', 'veth', 'peer', 'name', 'wlan0', 'netns', patient.pid);
    for (const [device, address] of [['up0', `${subnet}.2/30`], ['down0', `${subnet}.5/30`]]) {
      await router.run('ip', 'addr', 'add', address, 'dev', device);
      await router.run('ip', 'link', 'set', device, 'up');
    }
    await router.run('sh', '-c', 'echo 1 > /proc/sys/net/ipv4/ip_forward');
    await patient.run('ip', 'addr', 'add', `${subnet}.6/30`, 'dev', 'wlan0');
    network.gateway = `${subnet}.5`;
    // Whether this kernel can do all that tests ask for.
    await network.set({ lossPercent: 10, kbitsPerSec: 150, udp: false });
    await network.set();
    const home = await mkdtemp(path.join(tmpdir(), 'namespace-'));
    after(() => rm(home, { recursive: true, force: true }));
    const chromium = path.join(home, 'chromium');
    await writeFile(chromium, `#!/bin/sh\nexec nsenter ${patient.inside.join(' ')} ${CHROMIUM} "$@"\n`, { mode: 0o755 });
    network.ports = [await freePort(), await freePort()];
    // Browsers allow cameras on https and at this machine's own address only.
    network.doctors = await browser();
    const origins = network.ports.map((port) => `http://${network.host}:${port}`);
    network.patients = await browserAt(chromium, `--unsafely-treat-insecure-origin-as-secure=${origins}`);
    return network;
  }

  async set(conditions = {}) {
    const now = { ...FINE, ...conditions };
    await this.router.run('sh', '-ec', ['up0', 'down0'].flatMap((device) => shaping(device, now)).join('\n'));
    // Routes go with the link.
    await this.patient.run('sh', '-ec', now.up ? `ip link set wlan0 up; ip route replace default via ${this.gateway}` : 'ip link set wlan0 down');
  }

  async service({ tcp }) {
    const turn = tcp ? await Turn.start(this.host) : null;
    const port = this.ports.pop();
    const [origin, own] = [`http://${this.host}:${port}`, `http://127.0.0.1:${port}`];
    const env = { ...turn?.env, ICE_POLICY: 'all', HTTP_ADDR: `0.0.0.0:${port}`, HTTP_ALLOWED_ORIGINS: origin, CLIENT_BASE_URL: own };
    const service = await Service.start(env, { instances: 1 });
    return { service, link: (link) => link.replace(own, origin) };
  }
}

/** Everything goes into one class, which may be narrow, and what is to be lost into another one, which drops it. */
function shaping(device, { lossPercent, kbitsPerSec, udp }) {
  const rate = Number.isFinite(kbitsPerSec) ? kbitsPerSec : 1_000_000;
  const queueBytes = Math.max(3000, Math.round((Math.min(rate, 10_000) * QUEUE_MS) / 8));
  const rules = [
    'qdisc add dev DEV root handle 1: htb default 10',
    `class add dev DEV parent 1: classid 1:10 htb rate ${rate}kbit burst 1600 quantum 1600`,
    `qdisc add dev DEV parent 1:10 bfifo limit ${queueBytes}`,
    'class add dev DEV parent 1: classid 1:20 htb rate 1mbit quantum 1600',
    'qdisc add dev DEV parent 1:20 blackhole',
  ];
  if (!udp) rules.push('filter add dev DEV parent 1: protocol ip prio 1 u32 match ip protocol 17 0xff flowid 1:20');
  if (lossPercent > 0) {
    // Not every kernel has netem. This is the packet filter's dice: load a random number; if it is below this share of all, it matches.
    const share = Math.floor((2 ** 32 - 1) * (lossPercent / 100));
    rules.push(`filter add dev DEV parent 1: protocol ip prio 2 bpf bytecode '4,32 0 0 4294963256,53 0 1 ${share},6 0 0 0,6 0 0 4294967295' flowid 1:20`);
  }
  return [`tc qdisc del dev ${device} root 2>/dev/null || true`, ...rules.map((rule) => `tc ${rule.replace('DEV', device)}`)];
}

// --- proxies ------------------------------------------------------------------------------------------------------------

/** TCP sends a lost segment again after this time, and after twice as long each time. */
const AGAIN_MS = 250;
const SEGMENT_BYTES = 1400;
/** What the headers of UDP and IP take, too. */
const HEADER_BYTES = 28;

/** One direction of a bad network. */
class Lane {
  #freeAt = 0;

  constructor(conditions) {
    this.conditions = conditions;
  }

  /** When a datagram arrives that is sent now; `null` if it does not. */
  datagram(bytes) {
    const { lossPercent, udp, up } = this.conditions;
    if (!up || !udp || Math.random() * 100 < lossPercent) return null;
    if (this.#freeAt - Date.now() > QUEUE_MS) return null;
    return this.#arrival(bytes + HEADER_BYTES);
  }

  /** When these bytes of a stream arrive, some of which may have to be sent again. */
  stream(bytes) {
    let againMs = 0;
    for (let segment = 0; segment < bytes / SEGMENT_BYTES; segment += 1) {
      let wait = AGAIN_MS;
      while (Math.random() * 100 < this.conditions.lossPercent) {
        againMs += wait;
        wait *= 2;
      }
    }
    return this.#arrival(bytes) + againMs;
  }

  #arrival(bytes) {
    this.#freeAt = Math.max(Date.now(), this.#freeAt) + (bytes * 8) / this.conditions.kbitsPerSec;
    return this.#freeAt + this.conditions.delayMs;
  }
}

/** Media goes through the TURN server, and a proxy stands before that one and before the service. */
class Proxies {
  kind = 'proxies';
  #conditions = { ...FINE };
  #out = new Lane(this.#conditions);
  #in = new Lane(this.#conditions);

  static async start() {
    const network = new Proxies();
    network.patients = network.doctors = await browser();
    return network;
  }

  async set(conditions = {}) {
    Object.assign(this.#conditions, FINE, conditions);
  }

  async service({ tcp }) {
    const turn = await Turn.start();
    const [pagePort, turnPort] = [await freePort(), await freePort()];
    const over = (transport) => `turn:127.0.0.1:${turn.port}?transport=${transport}`;
    const env = { ...turn.env, TURN_URLS: [over('udp'), ...(tcp ? [over('tcp')] : [])].join(','), HTTP_ALLOWED_ORIGINS: `http://127.0.0.1:${pagePort}` };
    const service = await Service.start(env, { instances: 1 });
    await Promise.all([this.#streams(pagePort, Number(new URL(service.url).port)), this.#streams(turnPort, turn.port), this.#datagrams(turnPort, turn.port)]);
    return { service, link: (link) => link.replace(service.url, `http://127.0.0.1:${pagePort}`), script: turn.through({ port: turnPort }) };
  }

  async #streams(nearPort, farPort) {
    const sockets = new Set();
    const server = net.createServer(async (near) => {
      sockets.add(near.on('error', () => {}));
      // Whoever connects while it is away gets through once it is back.
      while (!this.#conditions.up && !near.destroyed) await sleep(100);
      const far = net.connect(farPort, '127.0.0.1').on('error', () => {});
      sockets.add(far);
      this.#carry(near, far, this.#out);
      this.#carry(far, near, this.#in);
    });
    server.listen(nearPort, '127.0.0.1');
    await once(server, 'listening');
    after(() => {
      server.close();
      for (const socket of sockets) socket.destroy();
    });
  }

  /** What was under way when the network went stays dead, as after a long time without an answer. */
  #carry(from, to, lane) {
    let isDead = false;
    let written = Promise.resolve();
    from.on('data', (data) => {
      isDead ||= !this.#conditions.up;
      const due = lane.stream(data.length);
      from.pause();
      written = written.then(async () => {
        if (due > Date.now()) await sleep(due - Date.now());
        isDead ||= !this.#conditions.up;
        if (!isDead && !to.destroyed) to.write(data);
      });
      const { delayMs } = this.#conditions;
      setTimeout(() => from.resume(), Math.max(0, due - delayMs - Date.now()));
    });
    from.on('close', () => {
      isDead ||= !this.#conditions.up;
      written.then(() => isDead || to.destroy());
    });
  }

  async #datagrams(nearPort, farPort) {
    const near = createSocket('udp4');
    const fars = new Map();
    near.bind(nearPort, '127.0.0.1');
    await once(near, 'listening');
    const pass = (lane, bytes, send) => {
      const due = lane.datagram(bytes);
      if (due !== null) setTimeout(send, Math.max(0, due - Date.now()));
    };
    near.on('message', (data, { address, port }) => {
      // Browsers send from each address that the machine has.
      const from = `${address} ${port}`;
      if (!fars.has(from)) {
        const far = createSocket('udp4');
        far.on('message', (answer) => pass(this.#in, answer.length, () => near.send(answer, port, address)));
        fars.set(from, far);
      }
      pass(this.#out, data.length, () => fars.get(from).send(data, farPort, '127.0.0.1'));
    });
    after(() => {
      for (const socket of [near, ...fars.values()]) socket.close();
    });
  }
}
