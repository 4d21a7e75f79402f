// What the page makes of user agents, devices and measurements: functions that need no browser.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { recognise, steps } from '../../web/js/browsers.js';
import { judge } from '../../web/js/connection-test.js';
import { find } from '../../web/js/devices.js';
import { devicesNotes, silence, statusOf } from '../../web/js/people.js';

const texts = JSON.parse(readFileSync(new URL('../../web/i18n/en.json', import.meta.url)));
const WEBKIT = 'AppleWebKit/537.36 (KHTML, like Gecko)';
const IPHONE = 'Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko)';
const MAC_SAFARI = 'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15';
/** The user agent, the browser and system, and the first step. */
const AGENTS = [
  [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/142.0.0.0 Safari/537.36`, 'chrome windows', 'help.bar.sliders'],
  [`Mozilla/5.0 (Linux; Android 10; K) ${WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36`, 'chrome android', 'help.bar.sliders'],
  [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/142.0.0.0 Safari/537.36 Edg/142.0.0.0`, 'edge windows', 'help.bar.lock'],
  [`Mozilla/5.0 (Linux; Android 10; K) ${WEBKIT} Chrome/142.0.0.0 Mobile Safari/537.36 EdgA/142.0.0.0`, 'edge android', 'help.bar.lock'],
  [`Mozilla/5.0 (Linux; Android 10; K) ${WEBKIT} SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36`, 'samsung android', 'help.bar.lock'],
  ['Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0', 'firefox other', 'help.bar.crossed'],
  ['Mozilla/5.0 (Android 15; Mobile; rv:145.0) Gecko/145.0 Firefox/145.0', 'firefox android', 'help.bar.lock'],
  [`${IPHONE} Version/18.5 Mobile/15E148 Safari/604.1`, 'safari ios', 'help.bar.page'],
  [`${IPHONE} CriOS/142.0.0.0 Mobile/15E148 Safari/604.1`, 'chrome ios', 'help.settings.ios'],
  [`${IPHONE} FxiOS/145.0 Mobile/15E148 Safari/605.1.15`, 'firefox ios', 'help.settings.ios'],
  [MAC_SAFARI, 'safari mac', 'help.menu.safari'],
  // Browsers of apps, and others that are built like Chrome.
  [`Mozilla/5.0 (Linux; Android 15; Pixel 8; wv) ${WEBKIT} Version/4.0 Chrome/142.0.0.0 Mobile Safari/537.36`, 'other android', 'help.bar.lock'],
  [`Mozilla/5.0 (Windows NT 10.0; Win64; x64) ${WEBKIT} Chrome/142.0.0.0 Safari/537.36 OPR/124.0.0.0`, 'other windows', 'help.bar.lock'],
  ['', 'other other', 'help.bar.lock'],
];

test('browsers are recognised, and each has its steps', () => {
  for (const [userAgent, expected, first] of AGENTS) {
    const here = recognise({ userAgent, maxTouchPoints: 0 });
    assert.equal(`${here.browser} ${here.system}`, expected, userAgent);
    const own = steps(here);
    assert.equal(own[0].key, first, userAgent);
    assert.equal(own.at(-1).key, 'help.again');
    for (const { key } of [...own, ...steps(here, { isSystem: true })]) assert.ok(texts[key], key);
  }
  // An iPad says that it is a Mac.
  assert.deepEqual(recognise({ userAgent: MAC_SAFARI, maxTouchPoints: 5 }), { browser: 'safari', system: 'ios' });
});

test('a device is found by its id, or by its name if no other has it', () => {
  const devices = [{ deviceId: '1', label: 'Camera' }, { deviceId: '2', label: 'Headset' }, { deviceId: '3', label: 'Camera' }];
  const id = (wanted) => find(devices, wanted)?.deviceId;
  assert.equal(id({ id: '3', label: 'Headset' }), '3');
  assert.equal(id({ id: 'gone', label: 'Headset' }), '2');
  assert.equal(id({ id: 'gone', label: 'Camera' }), undefined);
  assert.equal(id({ id: '', label: '' }), undefined);
});

test('the verdict on a connection', () => {
  const fine = { serviceMs: 30, way: 'relay', isOpen: true, lost: 0, roundTripMs: 60 };
  assert.equal(judge(fine), 'good');
  assert.equal(judge({ ...fine, lost: 0.1 }), 'weak');
  assert.equal(judge({ ...fine, roundTripMs: 900 }), 'weak');
  assert.equal(judge({ ...fine, serviceMs: 2000 }), 'weak');
  assert.equal(judge({ ...fine, isOpen: false }), 'bad');
  assert.equal(judge({ ...fine, serviceMs: Infinity }), 'offline');
  assert.equal(judge({ serviceMs: 30, way: 'service', isOpen: true }), 'service');
  assert.equal(judge({ serviceMs: 30, way: 'stun', isOpen: false }), 'bad');
});

test('what others say of their devices is shown, and nothing else', () => {
  const status = (data) => statusOf({ muted: true, camera_off: false, ...data });
  assert.equal(silence(status({})), 'call.muted.short');
  assert.equal(silence(status({ muted: false })), null);
  assert.equal(silence(status({ microphone: 'none' })), 'call.microphone.none');
  assert.equal(silence(status({ microphone: '<b>', camera: {} })), 'call.muted.short');
  const keys = (before, after) => devicesNotes(status(before), status(after)).map(({ key }) => key);
  assert.deepEqual(keys({}, {}), []);
  assert.deepEqual(keys({ muted: false }, { microphone: 'interrupted' }), ['call.microphone.interrupted.name']);
  assert.deepEqual(keys({ microphone: 'interrupted' }, { muted: false }), ['call.unmuted']);
  assert.deepEqual(keys({ microphone: 'none' }, {}), ['call.muted']);
  assert.deepEqual(keys({ camera: 'interrupted', camera_off: true }, {}), ['call.camera.back.name']);
});
