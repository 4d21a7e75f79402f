// An observer whose browser does not keep to the page: they get no media across, neither past the service nor into a page.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Service, browser, device, goIn, screen, seen, visible } from './support.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);

/** Keeps the page's socket where the test can use it. */
const HELD = `window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    window.held = this;
  }
};`;

/** What a service that lets everything pass would give this page: offers that send. */
const DECEIVED = `window.WebSocket = class extends WebSocket {
  addEventListener(type, handler) {
    const deceive = ({ data }) => (data.includes('"type":"offer"') ? data.replaceAll('a=recvonly', 'a=sendrecv') : data);
    super.addEventListener(type, type === 'message' ? (event) => handler({ data: deceive(event) }) : handler);
  }
};`;

/** Offers from a connection of the observer's own, with `from` replaced by `to`; the first answer or refusal. */
function offer(page, from, to) {
  return page.evaluate(async ([from, to]) => {
    const connection = new RTCPeerConnection();
    for (const kind of ['audio', 'video']) connection.addTransceiver(kind, { direction: 'recvonly' });
    await connection.setLocalDescription();
    const sdp = connection.localDescription.sdp.replaceAll(from, to);
    const heard = new Promise((resolve) => {
      window.held.addEventListener('message', ({ data }) => {
        const message = JSON.parse(data);
        if (message.type === 'error' || message.type === 'answer') resolve(message);
      });
    });
    window.held.send(JSON.stringify({ type: 'offer', target_id: 'doctor-1', data: { sdp } }));
    const answer = await heard;
    connection.close();
    return answer;
  }, [from, to]);
}

async function observed(t, doctorOptions = {}) {
  const session = await service.session();
  const doctor = await goIn(await device(t, chromium, doctorOptions), await session.doctor());
  await screen(doctor, 'call');
  const observer = await goIn(await device(t, chromium, { script: HELD }), await session.invite('ROLE_OBSERVER', 'Olga'));
  await visible(doctor, 'observer');
  await seen(observer);
  return { doctor, observer };
}

test('an offer that sends does not pass the service', async (t) => {
  const { doctor, observer } = await observed(t);
  for (const [from, to] of [
    ['a=recvonly', 'a=sendrecv'],
    ['a=recvonly', 'a=recvonly-x'],
    ['a=recvonly', 'a=recvonly\r\na= sendrecv'],
    ['m=audio', 'm=AUDIO'],
    ['m=audio', 'm= audio'],
  ]) {
    const answer = await offer(observer, from, to);
    assert.deepEqual([answer.type, answer.code], ['error', 'not-allowed'], `${from} as ${to}`);
  }
  assert.equal(await doctor.getByTestId('remote').count(), 0);
});

test('an offer that only receives is answered', async (t) => {
  const { observer } = await observed(t);
  const answer = await offer(observer, '', '');
  assert.deepEqual(answer.data.sdp.match(/a=(sendrecv|sendonly|recvonly|inactive)/g), ['a=sendonly', 'a=sendonly']);
});

test('an offer that sends is answered without receiving', async (t) => {
  const { doctor, observer } = await observed(t, { script: DECEIVED });
  const answer = await offer(observer, '', '');
  assert.deepEqual(answer.data.sdp.match(/a=(sendrecv|sendonly|recvonly|inactive)/g), ['a=sendonly', 'a=sendonly']);
  assert.equal(await doctor.getByTestId('remote').count(), 0);
});
