// WebKitGTK, driven over WebDriver. Debian's build has no WebRTC, so the page comes through a proxy that puts a stand-in before it.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cp, mkdtemp, rm } from 'node:fs/promises';
import http from 'node:http';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after } from 'node:test';

import { WAIT_MS, freePort, listen, until } from './support.mjs';

/** A program that runs until the test file ends. Starting it fails if it is not installed. */
async function run(command, args, options) {
  const child = spawn(command, args, options);
  after(() => child.kill('SIGKILL'));
  await once(child, 'spawn');
  return child;
}

/** A screen that nobody sees, until the test file ends; its name. */
async function startDisplay() {
  const args = ['-displayfd', '3', '-screen', '0', '1280x1024x24', '-nolisten', 'tcp'];
  const child = await run(process.env.XVFB ?? 'Xvfb', args, { stdio: ['ignore', 'ignore', 'ignore', 'pipe'] });
  const exited = once(child, 'exit').then(([code]) => Promise.reject(new Error(`Xvfb exited with ${code}`)));
  exited.catch(() => {});
  const [number] = await Promise.race([once(child.stdio[3], 'data'), exited]);
  return `:${String(number).trim()}`;
}

/**
 * The browser takes its language from its locale, which must exist. So that none need be installed, C's own files go by
 * that name, until the test file ends.
 */
async function nameLocale(locale) {
  const folder = await mkdtemp(path.join(tmpdir(), 'locales-'));
  after(() => rm(folder, { recursive: true, force: true }));
  await cp('/usr/lib/locale/C.utf8', path.join(folder, `${locale}.utf8`), { recursive: true });
  return { LOCPATH: folder, LC_ALL: `${locale}.UTF-8` };
}

export class WebKit {
  #driver;

  /** `locale` is a POSIX one, such as `es_ES`. */
  static async start(locale) {
    const webkit = new WebKit();
    const [display, port, language] = await Promise.all([startDisplay(), freePort(), nameLocale(locale)]);
    const env = { ...process.env, ...language, DISPLAY: display };
    // Replaces what a failed test has left, so that it does not fail the others, too.
    await run(process.env.WEBKIT_DRIVER ?? 'WebKitWebDriver', [`--port=${port}`, '--replace-on-new-session'], { env, stdio: 'ignore' });
    webkit.#driver = `http://127.0.0.1:${port}`;
    await until('the WebDriver listens', () => fetch(`${webkit.#driver}/status`).then(({ ok }) => ok, () => false));
    return webkit;
  }

  /** A browser of a test's own, with nothing remembered. Not two at a time: the driver has one. `failures`: see Detour. */
  async open(t, link, { width = 1280, height = 800, args = [], failures = [] } = {}) {
    const options = { args: ['--automation', '--features=+MockCaptureDevices', ...args] };
    const { sessionId } = await this.#call('POST', '/session', { capabilities: { alwaysMatch: { 'webkitgtk:browserOptions': options } } });
    const page = new Page((method, command, body) => this.#call(method, `/session/${sessionId}${command}`, body), failures);
    t.after(() => page.call('DELETE', ''));
    await page.call('POST', '/window/rect', { width, height });
    await page.go(link);
    return page;
  }

  async #call(method, command, body) {
    const answer = await fetch(this.#driver + command, { method, body: body && JSON.stringify(body), signal: AbortSignal.timeout(2 * WAIT_MS) });
    const { value } = await answer.json();
    if (!answer.ok) throw new Error(`${command}: ${value.error}: ${value.message}`);
    return value;
  }
}

/** What a test does with a page. */
class Page {
  #failures;

  constructor(call, failures) {
    this.call = call;
    this.#failures = failures;
  }

  /** Waits for something, unless the page has failed. */
  until(what, check) {
    return until(what, () => {
      assert.deepEqual(this.#failures, [], `the page failed before ${what}`);
      return check();
    });
  }

  go(url) {
    return this.call('POST', '/url', { url });
  }

  evaluate(what, ...args) {
    return this.call('POST', '/execute/sync', { script: `return (${what})(...arguments)`, args });
  }

  /** As a participant clicks: it fails if the element is hidden or covered. */
  async click(testid) {
    const element = await this.call('POST', '/element', { using: 'css selector', value: `[data-testid="${testid}"]` });
    await this.call('POST', `/element/${Object.values(element)[0]}/click`, {});
  }

  /** The text that is seen; empty for a hidden element. */
  text(testid) {
    return this.evaluate((id) => {
      const element = document.querySelector(`[data-testid="${id}"]`);
      return element?.checkVisibility({ visibilityProperty: true }) ? element.innerText.trim() : '';
    }, testid);
  }

  /** Waits for a text. */
  says(testid, wanted) {
    return this.until(`${testid} says ${wanted}`, async () => wanted.test(await this.text(testid)));
  }

  async screen(wanted) {
    await this.until(`the screen ${wanted}`, () => this.evaluate((name) => document.body?.dataset.screen === name, wanted));
  }
}

/** Tells the proxy what went wrong in the page: scripts, files that did not load, and what the page's policy forbade. */
function watch() {
  const tell = (what) => navigator.sendBeacon('/failed', what);
  window.addEventListener('error', ({ message, filename, lineno, target }) => tell(message ? `${message} (${filename}:${lineno})` : `not loaded: ${target.src ?? target.href}`), true);
  window.addEventListener('unhandledrejection', ({ reason }) => tell(`${reason}`));
  document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => tell(`forbidden: ${violatedDirective} ${blockedURI}`));
}

/** A connection that never comes about. */
function standIn() {
  window.RTCPeerConnection = class extends EventTarget {
    connectionState = 'new';
    signalingState = 'stable';
    localDescription = null;
    remoteDescription = null;
    addTransceiver() {}
    getTransceivers = () => [];
    getStats = async () => new Map();
    createOffer = async () => ({ type: 'offer', sdp: 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n' });
    createAnswer = async () => ({ type: 'answer', sdp: 'v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n' });
    async setLocalDescription(description) {
      this.localDescription = description;
    }
    async setRemoteDescription(description) {
      this.remoteDescription = description;
    }
    async addIceCandidate() {}
    setConfiguration() {}
    close() {
      this.signalingState = 'closed';
    }
  };
}

/**
 * A way to a service that puts a script before each page's own: a file of the same origin, which the page's policy allows.
 * `failures` is what went wrong in the pages.
 */
export class Detour {
  failures = [];
  /** Whether pages get a stand-in for WebRTC. */
  withCalls = true;

  static async start() {
    const detour = new Detour();
    const port = await freePort();
    detour.url = `http://127.0.0.1:${port}`;
    const server = http.createServer((request, response) => detour.#answer(request, response));
    server.on('upgrade', (request, socket, head) => detour.#upgrade(request, socket, head));
    await listen(server, port);
    after(() => server.closeAllConnections());
    return detour;
  }

  /** Whose pages come this way. Its `CLIENT_BASE_URL` must be this `url`. */
  to(service) {
    this.target = new URL(service.url);
  }

  #answer(request, response) {
    if (request.url === '/before.js') return response.setHeader('content-type', 'text/javascript').end(`(${watch})();${this.withCalls ? `(${standIn})();` : ''}`);
    if (request.url === '/failed') {
      request.on('data', (data) => this.failures.push(String(data)));
      return request.on('end', () => response.writeHead(204).end());
    }
    const { 'accept-encoding': encoding, ...headers } = request.headers;
    const isPage = headers.accept?.includes('text/html');
    const { hostname, port } = this.target;
    const onward = http.request({ hostname, port, method: request.method, path: request.url, headers: isPage ? headers : request.headers });
    onward.on('response', async (answer) => {
      if (!isPage) return answer.pipe(response.writeHead(answer.statusCode, answer.rawHeaders));
      const body = (await answer.toArray()).join('').replace('<head>', '<head><script src="/before.js"></script>');
      const { 'content-length': length, 'transfer-encoding': transfer, ...kept } = answer.headers;
      return response.writeHead(answer.statusCode, kept).end(body);
    });
    onward.on('error', () => response.destroy());
    response.on('close', () => onward.destroy());
    return request.pipe(onward);
  }

  #upgrade(request, socket, head) {
    const onward = net.connect(this.target.port, this.target.hostname);
    const lines = request.rawHeaders.map((text, index) => (index % 2 ? `${text}\r\n` : `${text}: `));
    onward.write(`${request.method} ${request.url} HTTP/1.1\r\n${lines.join('')}\r\n`);
    onward.write(head);
    socket.pipe(onward).pipe(socket);
    for (const [one, other] of [[socket, onward], [onward, socket]]) {
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  }
}
