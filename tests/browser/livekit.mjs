// A real livekit-server, for tests.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createHmac } from 'node:crypto';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';

import { freePort, until } from './support.mjs';

const ROOT = path.resolve(import.meta.dirname, '../..');
const OWN = path.join(ROOT, '.peers/bin/livekit-server');
const KEY = 'devkey';
const SECRET = 'browser-tests-livekit-secret-of-32-bytes';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

/** Stops with the test file. */
export class LiveKitServer {
  #child = null;
  #config;

  static async start() {
    const server = new LiveKitServer();
    const [http, tcp, udp, home] = await Promise.all([freePort(), freePort(), freePort(), mkdtemp(path.join(tmpdir(), 'livekit-'))]);
    server.url = `http://127.0.0.1:${http}`;
    server.home = home;
    server.mediaPorts = [tcp, udp];
    server.#config = `port: ${http}
bind_addresses: ['127.0.0.1']
rtc: { tcp_port: ${tcp}, udp_port: ${udp}, use_external_ip: false, enable_loopback_candidate: true, node_ip: 127.0.0.1, ips: { includes: ['127.0.0.1/32'] } }
keys: { ${KEY}: '${SECRET}' }
room: { auto_create: false }
logging: { level: error }
`;
    after(async () => {
      await server.stop('SIGKILL');
      await rm(home, { recursive: true, force: true });
    });
    await server.run();
    return server;
  }

  async run() {
    const bin = existsSync(OWN) ? OWN : 'livekit-server';
    this.#child = spawn(bin, ['--config-body', this.#config, '--node-ip', '127.0.0.1'], { stdio: 'ignore' });
    this.exited = once(this.#child, 'exit');
    const answers = () => fetch(this.url).then(({ ok }) => ok, () => false);
    await Promise.race([until('livekit-server answers', answers), this.exited.then(() => assert.fail('livekit-server ended at once'))]);
  }

  async stop(signal) {
    this.#child?.kill(signal);
    await this.exited;
    this.#child = null;
  }

  signal(name) {
    this.#child?.kill(name);
  }

  /** What the service needs to know of these servers: SFU_NODES_FILE. Their names are sfu-1, sfu-2 and so on. */
  static async nodes(...servers) {
    const [{ home }] = servers;
    const [file, secret] = [path.join(home, 'nodes.toml'), path.join(home, 'secret')];
    await writeFile(secret, SECRET, { mode: 0o600 });
    const node = ({ url }, at) => `[[node]]\nid = "sfu-${at + 1}"\ndriver = "livekit"\napi_url = "${url}"\napi_key = "${KEY}"\napi_secret_file = "${secret}"\n`;
    await writeFile(file, servers.map(node).join('\n'));
    return { SFU_NODES_FILE: file, LIVEKIT_CLIENT_DIR: path.join(ROOT, 'vendor/livekit-client') };
  }

  /** Calls the server's own API, by which tests see what it has. */
  async api(method, request, video) {
    const now = Math.floor(Date.now() / 1000);
    const answer = await fetch(`${this.url}/twirp/livekit.RoomService/${method}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${this.token({ sub: 'tests', nbf: now - 60, exp: now + 60, video })}` },
      body: JSON.stringify(request),
    });
    return answer.json();
  }

  /** The rooms that sessions have on it. */
  async rooms() {
    const { rooms = [] } = await this.api('ListRooms', {}, { roomList: true });
    return rooms.filter(({ name }) => name.startsWith('room_'));
  }

  /** Who is in the session's room. */
  async participants(session) {
    const { session: now } = await session.rpc('GetSession');
    const room = now.roomName;
    return (await this.api('ListParticipants', { room }, { roomAdmin: true, room })).participants ?? [];
  }

  token(claims) {
    const body = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode({ iss: KEY, ...claims })}`;
    return `${body}.${createHmac('sha256', SECRET).update(body).digest('base64url')}`;
  }
}
