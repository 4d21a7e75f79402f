// Calls whose node, or whose instance of the service, is lost, drained or moved away from.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { LiveKitServer } from './livekit.mjs';
import { SQUARE_SCREEN, goesPast, goesThrough, meetObserved, now, observedDevice, presenterSeen, watch } from './observed.mjs';
import { PHONE, Service, browser, click, ended, goIn, hidden, screen, seen, until, visible } from './support.mjs';

const [chromium, ...servers] = await Promise.all([browser(), LiveKitServer.start(), LiveKitServer.start()]);
// All other times are the defaults: the tests print how long things take with them.
const service = await Service.start({ ...(await LiveKitServer.nodes(...servers)), NODE_UP_AFTER_SECS: '1', NODE_UP_AFTER_MAX_SECS: '1' });
const [first, second] = servers;

const nodes = (method, request) => service.rpc(method, request, 'SfuNodeService');
const isUp = ({ health }) => health === 'SFU_NODE_HEALTH_UP';

/** Both nodes answer and take sessions. */
async function bothUp() {
  for (const node_id of ['sfu-1', 'sfu-2']) await nodes('ActivateNode', { node_id });
  await until('both nodes are up', async () => (await nodes('ListNodes', {})).nodes.every(isUp));
}

/** A call of two through the first node. */
async function callOnFirst(t, request = {}) {
  await bothUp();
  const session = await service.session({ media: 'MEDIA_SFU', ...request });
  await nodes('MoveSession', { session_id: session.id, target_node_id: 'sfu-1' });
  const pages = await meetObserved(t, chromium, session, { doctor: { script: SQUARE_SCREEN } });
  return { session, ...pages, both: [pages.doctor, pages.patient] };
}

/** The longest time without a new frame since then. */
const longestGap = (page, since) => page.evaluate((from) => {
  const frames = window.observed.frames.filter((at) => at >= from - 200);
  return Math.round(Math.max(0, ...frames.slice(1).map((at, place) => at - frames[place])));
}, since);

/** Does something to a node that carries a call, and prints how long the pictures stand still. */
async function losing(t, { both }, action) {
  const since = await Promise.all(both.map(now));
  await action();
  await Promise.all(both.map((page) => goesThrough(page, second, 60_000)));
  await Promise.all(both.map((page) => seen(page)));
  const gaps = await Promise.all(both.map((page, at) => longestGap(page, since[at])));
  t.diagnostic(`without a new frame: ${gaps.join(' and ')} ms`);
}

test('the node is killed', { timeout: 300_000 }, async (t) => {
  const call = await callOnFirst(t);
  t.after(() => first.run());
  await click(call.doctor, 'share');
  await presenterSeen(call.patient);
  await losing(t, call, () => first.stop('SIGKILL'));
  await presenterSeen(call.patient);
});

test('the node stands still, and goes on later', { timeout: 300_000 }, async (t) => {
  const call = await callOnFirst(t);
  t.after(() => first.signal('SIGCONT'));
  await losing(t, call, () => first.signal('SIGSTOP'));
  first.signal('SIGCONT');
  await bothUp();
  // The former room is gone, and nobody goes back to it.
  await until('nobody is on the former node', async () => (await first.rooms()).length === 0);
  await Promise.all(call.both.map((page) => seen(page)));
});

test('the node is drained with a call on it, and the picture goes on', { timeout: 300_000 }, async (t) => {
  const call = await callOnFirst(t);
  await Promise.all([watch(call.doctor, 'patient-1'), watch(call.patient, 'doctor-1')]);
  await losing(t, call, () => nodes('DrainNode', { node_id: 'sfu-1', reason: 'a new kernel', deadline: '1s' }));
  for (const page of call.both) assert.deepEqual(await page.evaluate(() => window.observed.losses), [], 'the picture is never lost');
  // And back again.
  await bothUp();
  await nodes('MoveSession', { session_id: call.session.id, target_node_id: 'sfu-1' });
  await Promise.all(call.both.map((page) => goesThrough(page, first, 60_000)));
  await Promise.all(call.both.map((page) => seen(page)));
  for (const page of call.both) assert.deepEqual(await page.evaluate(() => window.observed.losses), [], 'the picture is never lost');
});

test('without any node, a call goes on between the browsers', { timeout: 300_000 }, async (t) => {
  const call = await callOnFirst(t, { media: 'MEDIA_AUTO' });
  const interpreter = await goIn(await observedDevice(t, chromium, PHONE), await call.session.invite('ROLE_INTERPRETER', 'Ivo'));
  await Promise.all([...call.both, interpreter].map((page) => goesThrough(page, first, 120_000)));
  await click(interpreter, 'leave');
  await ended(interpreter, 'left');
  t.after(() => Promise.all(servers.map((server) => server.run())));
  const since = await Promise.all(call.both.map(now));
  await Promise.all(servers.map((server) => server.stop('SIGKILL')));
  for (const page of call.both) await until('media goes on', async () => {
    await Promise.all(servers.map((server) => goesPast(page, server)));
    return true;
  });
  await Promise.all(call.both.map((page) => seen(page)));
  const gaps = await Promise.all(call.both.map((page, at) => longestGap(page, since[at])));
  t.diagnostic(`without a new frame: ${gaps.join(' and ')} ms`);
});

test('media goes on while the instance that passes on the signalling is gone', { timeout: 300_000 }, async (t) => {
  const call = await callOnFirst(t);
  const since = await Promise.all(call.both.map(now));
  await Promise.all([service.stop('SIGKILL'), service.other?.stop('SIGKILL')]);
  for (const page of call.both) await visible(page, 'lost');
  await Promise.all(call.both.map((page) => seen(page)));
  await Promise.all([service.run(), service.other?.run()]);
  for (const page of call.both) await hidden(page, 'lost');
  await Promise.all(call.both.map((page) => seen(page)));
  for (const page of call.both) await goesThrough(page, first);
  const gaps = await Promise.all(call.both.map((page, at) => longestGap(page, since[at])));
  t.diagnostic(`without a new frame: ${gaps.join(' and ')} ms`);
  await click(call.patient, 'mute');
  await visible(call.doctor, 'remote-muted');
  await screen(call.doctor, 'call');
});
