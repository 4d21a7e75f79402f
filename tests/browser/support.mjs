// The real service and real browsers: starts `video-session serve`, creates sessions and links as a backend does, and
// opens pages as participants do.

import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';

import { chromium } from 'playwright-core';

const ROOT = path.resolve(import.meta.dirname, '../..');
const PEERS = path.join(ROOT, '.peers/bin');
const SERVICE = 'VideoSessionService';
export const SECRET = 'browser-tests-internal-secret';
const JWT_SECRET = 'browser-tests-signing-secret-of-more-than-32-bytes';
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
/** Where screenshots go; nowhere if not set. */
const SCREENSHOTS = process.env.VIDEO_SESSION_SCREENSHOTS;

// Nothing should take so long; a machine that is busy with other things may.
export const WAIT_MS = 30_000;
export const PHONE = { viewport: { width: 390, height: 844 }, isMobile: true, hasTouch: true };
export const SMALL = { viewport: { width: 320, height: 568 }, isMobile: true, hasTouch: true };
export const DESKTOP = { viewport: { width: 1280, height: 800 } };

/** Waits until something holds, and says what did not. */
export async function until(what, check, within = WAIT_MS) {
  const deadline = Date.now() + within;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) assert.fail(`not within ${within} ms: ${what}`);
    await sleep(50);
  }
}

/** A port that is free now: the service keeps it over restarts. */
export async function freePort() {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  return port;
}

// --- the service ------------------------------------------------------------------------------------------------------

export class Service {
  #child = null;
  #env;

  /**
   * Stops with the test file. With two instances, everybody but the doctor comes to the other one, which is `other`; so
   * `VIDEO_SESSION_INSTANCES=2 npm test` runs every test with its participants apart.
   */
  static async start(env = {}, { instances = Number(process.env.VIDEO_SESSION_INSTANCES ?? 1) } = {}) {
    if (instances === 1) return Service.#startOne(env);
    const [mongo, redis] = await Promise.all([startMongo(), Redis.start()]);
    // The peer speaks the protocol, not MongoDB's speed.
    const shared = { MONGO_URI: `mongodb://${mongo}/browser`, REDIS_URL: redis.url, STORE_TIMEOUT_MS: '20000', ...env };
    const [service, other] = await Promise.all([Service.#startOne(shared), Service.#startOne(shared)]);
    return Object.assign(service, { other, redis });
  }

  static async #startOne(env) {
    const service = new Service();
    const [httpPort, dataDir] = await Promise.all([freePort(), mkdtemp(path.join(tmpdir(), 'video-session-'))]);
    service.url = `http://127.0.0.1:${httpPort}`;
    service.dataDir = dataDir;
    service.#env = {
      PATH: process.env.PATH,
      INTERNAL_SECRET: SECRET,
      VIDEO_JWT_SECRET: JWT_SECRET,
      DATA_DIR: dataDir,
      GRPC_ADDR: '127.0.0.1:0',
      ADMIN_ADDR: '127.0.0.1:0',
      HTTP_ADDR: `127.0.0.1:${httpPort}`,
      CLIENT_BASE_URL: service.url,
      HTTP_REQUESTS_PER_MINUTE: '100000',
      DRAIN_DELAY_SECS: '0',
      DRAIN_TIMEOUT_SECS: '5',
      ...env,
    };
    after(async () => {
      await service.stop('SIGKILL');
      await rm(dataDir, { recursive: true, force: true });
    });
    await service.run();
    return service;
  }

  async run() {
    const bin = process.env.VIDEO_SESSION_BIN ?? path.join(ROOT, 'target/debug/video-session');
    // In an empty directory, so that no `.env` of a developer's is read.
    const child = spawn(bin, ['serve'], { env: this.#env, cwd: this.dataDir, stdio: ['ignore', 'pipe', 'pipe'] });
    this.#child = child;
    this.exited = once(child, 'exit');
    const last = [];
    const listening = new Promise((resolve, reject) => {
      const read = (line) => {
        last.push(line);
        if (last.length > 40) last.shift();
        const entry = parse(line);
        const fields = { ...entry, ...entry?.fields };
        if (fields.message === 'listening') resolve(fields);
      };
      for (const stream of [child.stdout, child.stderr]) createInterface({ input: stream }).on('line', read);
      this.exited.then(([code]) => reject(new Error(`the service exited with ${code}:\n${last.join('\n')}`)), reject);
    });
    listening.catch(() => {});
    this.addresses = await listening;
  }

  async stop(signal = 'SIGTERM') {
    if (!this.#child) return;
    this.#child.kill(signal);
    await this.exited;
    this.#child = null;
  }

  async rpc(method, request, of = SERVICE) {
    const own = path.join(PEERS, 'grpcurl');
    const args = ['-plaintext', '-import-path', path.join(ROOT, 'proto'), '-proto', 'videosession/v1/video_session.proto'];
    args.push('-H', `x-internal-secret: ${SECRET}`, '-d', JSON.stringify(request), this.addresses.grpc_addr, `videosession.v1.${of}/${method}`);
    const { stdout } = await promisify(execFile)(existsSync(own) ? own : 'grpcurl', args);
    return JSON.parse(stdout || '{}');
  }

  /** An appointment's session. */
  async session(request = {}) {
    const appointment_id = `appointment-${randomUUID()}`;
    const { session } = await this.rpc('CreateSession', { appointment_id, doctor_id: 'doctor-1', patient_id: 'patient-1', ...request });
    return new Session(this, session.sessionId);
  }
}

function parse(line) {
  try {
    return JSON.parse(line);
  } catch {
    return null;
  }
}

export class Session {
  constructor(service, id) {
    Object.assign(this, { service, id });
  }

  rpc(method, request = {}) {
    return this.service.rpc(method, { session_id: this.id, ...request });
  }

  async join(role, user_id, display_name) {
    const { joinUrl } = await this.rpc('JoinSession', { role, user_id, display_name });
    return role === 'ROLE_DOCTOR' ? joinUrl : this.#elsewhere(joinUrl);
  }

  /** The same link, to the other instance, if there is one. */
  #elsewhere(link) {
    const { other } = this.service;
    return other ? link.replace(this.service.url, other.url) : link;
  }

  doctor(name = 'Dr. Ana Ruiz') {
    return this.join('ROLE_DOCTOR', 'doctor-1', name);
  }

  patient(name = 'Rosa Pérez') {
    return this.join('ROLE_PATIENT', 'patient-1', name);
  }

  async invite(role, display_name) {
    return this.#elsewhere((await this.rpc('InviteParticipant', { role, display_name })).join.joinUrl);
  }

  end(reason) {
    return this.rpc('EndSession', { reason });
  }
}

/** A link's token with other claims, signed as the service would sign it, or with another secret. */
export function resign(link, changes, secret = JWT_SECRET) {
  const url = new URL(link);
  const [header, payload] = url.searchParams.get('token').split('.');
  const claims = { ...JSON.parse(Buffer.from(payload, 'base64url')), ...changes };
  const body = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  url.searchParams.set('token', `${body}.${createHmac('sha256', secret).update(body).digest('base64url')}`);
  return url.href;
}

// --- what instances share ---------------------------------------------------------------------------------------------

/** Something that speaks MongoDB's protocol, until the test file ends; its address. */
async function startMongo() {
  const own = path.join(PEERS, 'mongo-peer');
  const child = spawn(existsSync(own) ? own : 'mongo-peer', ['--port', '0', '--exit-with-stdin'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [line] = await once(createInterface({ input: child.stdout }), 'line');
  // Not before: a hook that is made while a file's first tests begin would be one of theirs, and end the server after them.
  after(() => child.stdin.end());
  return line.replace('listening ', '');
}

/** A real Redis, until the test file ends. */
export class Redis {
  #child = null;

  static async start() {
    const redis = new Redis();
    redis.port = await freePort();
    redis.url = `redis://127.0.0.1:${redis.port}`;
    after(() => redis.kill());
    await redis.run();
    return redis;
  }

  async run() {
    const args = ['--port', String(this.port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no'];
    this.#child = spawn('redis-server', args, { cwd: tmpdir(), stdio: 'ignore' });
    await until('Redis listens', () => reachable(this.port));
  }

  async kill() {
    if (!this.#child) return;
    const exited = once(this.#child, 'exit');
    this.#child.kill('SIGKILL');
    this.#child = null;
    await exited;
  }
}

// --- the browser ------------------------------------------------------------------------------------------------------

export const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** One browser for a test file. */
export const browser = (...more) => browserAt(CHROMIUM, ...more);

export async function browserAt(executablePath, ...more) {
  const launched = await chromium.launch({
    executablePath,
    args: [
      '--no-sandbox',
      '--disable-background-networking',
      '--use-fake-ui-for-media-stream',
      '--use-fake-device-for-media-stream=device-count=2',
      // Tests' machines resolve no mDNS names.
      '--disable-features=WebRtcHideLocalIpsWithMdns',
      ...more,
    ],
  });
  after(() => launched.close());
  return launched;
}

/**
 * On a loaded machine, livekit-client's worker may answer after the participant whom it answers about has left. The
 * client throws then, in a handler that nothing waits for, and nothing comes of it.
 */
const HARMLESS = /^couldn't set encryption status, participant not found/;

/** A participant at their own device. The test `t` owns it: afterwards it is closed, and must not have failed. */
export async function device(t, launched, options = {}) {
  const { script, ...rest } = options;
  const context = await launched.newContext({ locale: 'en-GB', ...DESKTOP, ...rest });
  if (script) await context.addInitScript(script);
  const failures = [];
  context.on('weberror', (error) => {
    if (!HARMLESS.test(error.error().message)) failures.push(error.error());
  });
  t.after(async () => {
    await context.close();
    assert.deepEqual(failures, [], 'the page failed');
  });
  return context;
}

export async function open(context, link) {
  const page = await context.newPage();
  const answer = await page.goto(link);
  return Object.assign(page, { answer });
}

/** Opens a link and goes in. */
export async function goIn(context, link) {
  const page = await open(context, link);
  await start(page);
  return page;
}

/** Presses the large button, once camera and microphone were asked for (an observer's page asks for none). */
export async function start(page) {
  await screen(page, 'ready');
  await page.getByTestId('asking').waitFor({ state: 'hidden', timeout: WAIT_MS });
  await until('own picture or a failure', () => page.evaluate(() => Boolean(document.querySelector('.failure') || document.getElementById('preview-box').hidden || document.querySelector('[data-testid=preview]').srcObject)));
  await page.getByTestId('start').click();
}

export async function screen(page, name, within = WAIT_MS) {
  await page.waitForFunction((wanted) => document.body.dataset.screen === wanted, name, { timeout: within }).catch(async () => {
    const shown = await page.evaluate(() => `${document.body.dataset.screen} ${document.body.dataset.endReason ?? ''}`);
    assert.fail(`not within ${within} ms: the screen ${name}; there is ${shown}`);
  });
}

export async function ended(page, reason, within = WAIT_MS) {
  await screen(page, 'end', within);
  assert.equal(await page.evaluate(() => document.body.dataset.endReason), reason);
}

export const visible = (page, testid, within = WAIT_MS) => page.getByTestId(testid).first().waitFor({ timeout: within });
export const hidden = (page, testid, within = WAIT_MS) => page.getByTestId(testid).first().waitFor({ state: 'hidden', timeout: within });
export const click = (page, testid) => page.getByTestId(testid).first().click();

/** How many frames of somebody's picture were decoded and shown; their sound's energy, heard so far. */
export function received(page, name) {
  return page.evaluate((wanted) => {
    const tiles = [...document.querySelectorAll('[data-testid=remote]')];
    const tile = wanted ? tiles.find((one) => one.querySelector('[data-testid=remote-name]').textContent === wanted) : tiles[0];
    const video = tile?.querySelector('video');
    return video ? { frames: video.getVideoPlaybackQuality().totalVideoFrames, width: video.videoWidth, height: video.videoHeight } : null;
  }, name);
}

/** Somebody's picture moves: frames are decoded, and more of them as time goes by. Returns how many a second. */
export async function seen(page, { name, within = WAIT_MS } = {}) {
  const first = await until(`a picture of ${name ?? 'somebody'}`, async () => {
    const now = await received(page, name);
    return now?.frames > 0 && now.width > 0 && { ...now, at: Date.now() };
  }, within);
  return until(`a moving picture of ${name ?? 'somebody'}`, async () => {
    const now = await received(page, name);
    // A new connection counts from nothing again.
    if (now && now.frames < first.frames) Object.assign(first, now, { at: Date.now() });
    return now && now.frames >= first.frames + 10 && (1000 * (now.frames - first.frames)) / (Date.now() - first.at);
  }, within);
}

/** What part of somebody's picture is not black, from 0 to 1. */
export function lit(page) {
  return page.evaluate(() => {
    const canvas = Object.assign(document.createElement('canvas'), { width: 32, height: 32 });
    const paper = canvas.getContext('2d');
    paper.drawImage(document.querySelector('[data-testid=remote-video]'), 0, 0, 32, 32);
    const { data } = paper.getImageData(0, 0, 32, 32);
    let count = 0;
    for (let at = 0; at < data.length; at += 4) count += data[at] + data[at + 1] + data[at + 2] > 60;
    return count / 1024;
  });
}

/** A doctor and a patient in a call, who see each other. */
export async function meet(t, launched, session, { patient: patientOptions = {}, doctor: doctorOptions = {} } = {}) {
  const [doctorAt, patientAt] = [await device(t, launched, doctorOptions), await device(t, launched, { ...PHONE, ...patientOptions })];
  const patient = await goIn(patientAt, await session.patient());
  const doctor = await goIn(doctorAt, await session.doctor());
  await Promise.all([screen(patient, 'call'), screen(doctor, 'call')]);
  await Promise.all([seen(patient), seen(doctor)]);
  return { doctor, patient };
}

// --- how it looks -----------------------------------------------------------------------------------------------------

/** Nothing for axe to find, and nothing wider than the window. */
export async function accessible(page, what) {
  // What the browser's own tools evaluate is not bound by the page's policy.
  if (!(await page.evaluate(() => 'axe' in window))) await page.evaluate(AXE);
  const examine = () =>
    page.evaluate(async () => {
      const { violations } = await window.axe.run(document, { resultTypes: ['violations'] });
      return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ target, failureSummary }) => `${target} ${failureSummary}`).join('; ')}`);
    });
  const given = await page.evaluate(() => (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'));
  for (const colorScheme of [given === 'dark' ? 'light' : 'dark', given]) {
    await page.emulateMedia({ colorScheme });
    assert.deepEqual(await examine(), [], `${what}, ${colorScheme}`);
  }
  const { scrollWidth, innerWidth } = await page.evaluate(() => ({ scrollWidth: document.documentElement.scrollWidth, innerWidth: window.innerWidth }));
  assert.ok(scrollWidth <= innerWidth, `${what} is ${scrollWidth} wide on ${innerWidth}`);
}

export async function picture(page, name) {
  if (!SCREENSHOTS) return;
  mkdirSync(SCREENSHOTS, { recursive: true });
  await page.screenshot({ path: path.join(SCREENSHOTS, `${name}.png`) });
}

// --- around the service -----------------------------------------------------------------------------------------------

/** A certificate that nobody but a browser with --ignore-certificate-errors trusts. */
export async function certificate(home) {
  const [key, cert] = [path.join(home, 'key.pem'), path.join(home, 'cert.pem')];
  const args = ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2', '-subj', '/CN=localhost'];
  await promisify(execFile)('openssl', [...args, '-keyout', key, '-out', cert]);
  return { key: readFileSync(key), cert: readFileSync(cert) };
}

/** Until the test file ends. */
export async function listen(server, port) {
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  after(() => server.close());
}

// --- the network ------------------------------------------------------------------------------------------------------

/** A way to the service that can be slow, or cut: what is sent then is lost, and nobody is told, as with a cable pulled out. */
export class Wire {
  #cut = false;
  #delayMs = 0;
  #pairs = new Set();

  /** Near its end it listens on `near`, or on any free port. */
  static async to(t, url, near = 0) {
    const wire = new Wire();
    const { hostname, port } = new URL(url);
    const server = net.createServer((socket) => {
      if (wire.#cut) return socket.destroy();
      const far = net.connect(Number(port), hostname);
      return wire.#join(socket, far);
    });
    server.listen(near, '127.0.0.1');
    await once(server, 'listening');
    wire.port = server.address().port;
    t.after(() => {
      wire.cut();
      server.close();
      for (const socket of wire.#pairs) socket.destroy();
    });
    return wire;
  }

  /** The same link, over this wire. */
  link(link) {
    return Object.assign(new URL(link), { port: String(this.port) }).href;
  }

  cut() {
    this.#cut = true;
  }

  /** From now on everything takes so much longer, in each direction. */
  slow(delayMs) {
    this.#delayMs = delayMs;
  }

  /** What was connected before stays dead, as after a cable was pulled for long. */
  mend() {
    this.#cut = false;
  }

  #join(near, far) {
    let dead = false;
    for (const [from, to] of [[near, far], [far, near]]) {
      let written = Promise.resolve();
      this.#pairs.add(from);
      from.on('error', () => {});
      from.on('data', (data) => {
        dead ||= this.#cut;
        const due = Date.now() + this.#delayMs;
        // One after the other, also when the wire becomes fast again.
        written = written.then(async () => {
          if (due > Date.now()) await sleep(due - Date.now());
          if (!dead && !to.destroyed) to.write(data);
        });
      });
      from.on('close', () => {
        this.#pairs.delete(from);
        dead ||= this.#cut;
        // The far end of a cut wire hears nothing of this.
        written.then(() => dead || to.destroy());
      });
    }
  }
}

/** coturn's configuration of docs/turn.md, for one machine: no TLS, no NAT, and ports that are free. */
function documentedConfig(port) {
  const [, config] = /```ini\n([\s\S]*?)```/.exec(readFileSync(path.join(ROOT, 'docs/turn.md'), 'utf8'));
  return config
    .replace('listening-port=3478', `listening-port=${port}`)
    .replace('static-auth-secret=…', 'static-auth-secret=browser-tests-turn-secret')
    .replace('allowed-peer-ip=10.0.0.10', 'allowed-peer-ip=127.0.0.1')
    .replaceAll(/^(tls-listening-port|cert|pkey|no-tlsv1\S*|external-ip|min-port|max-port).*\n/gm, '');
}

/** A real TURN server, and what the service needs to know of it. Media goes through it over TCP, so that a Wire can cut it. */
export class Turn {
  static async start(address = '127.0.0.1') {
    const turn = new Turn();
    turn.port = await freePort();
    const home = await mkdtemp(path.join(tmpdir(), 'coturn-'));
    const args = ['-c', path.join(home, 'turnserver.conf'), `--listening-ip=${address}`, `--relay-ip=${address}`, '--allow-loopback-peers'];
    args.push('--no-tls', '--no-dtls', '--log-file=stdout', '--simple-log', `--pidfile=${home}/pid`, `--userdb=${home}/db`);
    await writeFile(args[1], documentedConfig(turn.port));
    const child = spawn(process.env.TURNSERVER ?? 'turnserver', args, { cwd: home, stdio: 'ignore' });
    const exited = new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('exit', resolve);
    });
    after(async () => {
      child.kill('SIGKILL');
      await exited;
      await rm(home, { recursive: true, force: true });
    });
    await Promise.race([until('coturn listens', () => reachable(turn.port, address)), exited.then(() => assert.fail('coturn ended at once'))]);
    turn.env = { TURN_URLS: `turn:${address}:${turn.port}?transport=tcp`, TURN_SECRET: 'browser-tests-turn-secret', ICE_POLICY: 'relay' };
    return turn;
  }

  /** For a page whose way to this server is a wire: what runs there before its own scripts. */
  through(wire) {
    return `{
      const through = (given) => ({ ...given, iceServers: given.iceServers.map((server) => ({ ...server, urls: [server.urls].flat().map((url) => url.replace(':${this.port}', ':${wire.port}')) })) });
      window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(given) {
          super(through(given));
        }
        setConfiguration(given) {
          super.setConfiguration(through(given));
        }
      };
    }`;
  }
}

async function reachable(port, address = '127.0.0.1') {
  const socket = net.connect(port, address);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
