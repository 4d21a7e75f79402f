// The same through a real TURN server, which hides participants' addresses from each other.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Service, Turn, browser, device, goIn, meet, seen, until } from './support.mjs';

const [turn, chromium] = await Promise.all([Turn.start(), browser()]);
const service = await Service.start(turn.env);

/** Keeps a page's connections where the test can look at them. */
const watched = `window.RTCPeerConnection = class extends RTCPeerConnection {
  constructor(given) {
    super(given);
    (window.connections ??= []).push(this);
  }
};`;

const candidates = (page) =>
  page.evaluate(async () => {
    const found = [];
    for (const connection of window.connections.filter(({ connectionState }) => connectionState === 'connected')) {
      for (const entry of (await connection.getStats()).values()) {
        if (entry.type.endsWith('-candidate')) found.push(`${entry.type} ${entry.candidateType}`);
      }
      for (const { sdp } of [connection.localDescription, connection.remoteDescription]) found.push(...(sdp.match(/typ \w+/g) ?? []));
    }
    return [...new Set(found)].sort();
  });

test('two participants meet through TURN, and never learn each other’s address', async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session(), { patient: { script: watched }, doctor: { script: watched } });
  for (const page of [doctor, patient]) {
    assert.deepEqual(await candidates(page), ['local-candidate relay', 'remote-candidate relay', 'typ relay']);
  }
});

test('an interpreter joins them', async (t) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  const interpreter = await goIn(await device(t, chromium), await session.invite('ROLE_INTERPRETER', 'Ivo'));
  for (const name of ['Dr. Ana Ruiz', 'Rosa Pérez']) await seen(interpreter, { name, within: 30_000 });
  for (const page of [doctor, patient]) await seen(page, { name: 'Ivo', within: 30_000 });
  await until('both others', async () => (await interpreter.getByTestId('remote').count()) === 2);
});
