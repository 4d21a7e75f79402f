// What a real TURN server is for: it hides participants' addresses from each other.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Service, Turn, browser, meet } from './support.mjs';

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
