// The front end of the VC rooms in one browser, and in another the same or our page. The test has the number of the list by which that
// service was known; its other lines are tested in tests/signalling/legacy_rooms.rs.

import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { test } from 'node:test';

import { PHONE, Service, browser, click, device, freePort, goIn, hidden, listen, open, seen, until, visible } from './support.mjs';

const frontEnd = `http://127.0.0.1:${await freePort()}`;
const [chromium, otherChromium, service, html] = await Promise.all([
  browser(),
  browser(),
  Service.start({ LEGACY_APIS: 'rooms', LEGACY_ADDR: '127.0.0.1:0', LEGACY_ROOMS_OPEN: 'true', LEGACY_CORS_ORIGINS: frontEnd }),
  readFile(path.join(import.meta.dirname, 'older-rooms.html')),
]);
const api = `http://${service.addresses.legacy_addr}`;
await listen(http.createServer((_, answer) => answer.setHeader('Content-Type', 'text/html').end(html)), new URL(frontEnd).port);

async function room() {
  const { room_id: id } = await (await fetch(`${api}/create-room`, { method: 'POST' })).json();
  const { session } = await service.rpc('GetSession', { appointment_id: `room:${id}` });
  return {
    id,
    older: async (at, name) => open(at, `${frontEnd}/?${new URLSearchParams({ api, room: id, name })}`),
    async guest(name) {
      const request = { session_id: session.sessionId, role: 'ROLE_GUEST', user_id: 'guest-1', display_name: name };
      return (await service.rpc('JoinSession', request)).joinUrl;
    },
  };
}

/** The older page shows a picture that moves, and its sound was heard. */
async function olderSees(page) {
  const frames = () => page.evaluate(() => {
    const video = document.getElementById('remote');
    return video.videoWidth && video.getVideoPlaybackQuality().totalVideoFrames;
  });
  const first = await until('a picture on the older page', frames);
  await until('a moving picture on the older page', async () => (await frames()) >= first + 10);
  const tracks = await page.evaluate(() => document.getElementById('remote').srcObject.getAudioTracks().length);
  assert.equal(tracks, 1);
  assert.deepEqual(await page.evaluate(() => window.log.errors), []);
}

const told = (page, type) => page.evaluate((wanted) => window.log.messages.filter((message) => message.type === wanted), type);

for (const oursComes of ['second', 'first']) {
  test(`line 15: two browsers exchange pictures and sound, and ours comes ${oursComes}`, async (t) => {
    const { older, guest } = await room();
    const [olderAt, ourAt] = [await device(t, chromium), await device(t, otherChromium, PHONE)];
    const ourLink = await guest('Rosa Pérez');
    let [theirs, ours] = [null, null];
    if (oursComes === 'first') {
      ours = await goIn(ourAt, ourLink);
      await visible(ours, 'alone');
    }
    theirs = await older(olderAt, 'Ana');
    await until('the older page is connected', async () => (await told(theirs, 'connected')).length === 1);
    ours ??= await goIn(ourAt, ourLink);
    await Promise.all([seen(ours), olderSees(theirs)]);

    await theirs.evaluate(() => window.page.mute(true));
    await visible(ours, 'remote-muted');
    await theirs.evaluate(() => window.page.mute(false));
    await hidden(ours, 'remote-muted');
    await click(ours, 'mute');
    await until('the older page is told that ours is muted', async () => (await told(theirs, 'mute-status')).some(({ data }) => data.muted));

    await theirs.evaluate(() => window.page.leave());
    await until('ours is alone', async () => (await ours.locator('[data-testid=remote]').count()) === 0);
  });
}

test('line 15: two browsers on the older page exchange pictures and sound; its room is gone after them', async (t) => {
  const { id, older } = await room();
  const first = await older(await device(t, chromium), 'Ana');
  await until('the first is connected', async () => (await told(first, 'connected')).length === 1);
  const second = await older(await device(t, otherChromium), 'Rosa');
  await Promise.all([olderSees(first), olderSees(second)]);
  assert.deepEqual((await told(first, 'join')).map(({ user_id }) => user_id), ['Rosa']);
  await second.evaluate(() => window.page.emoji('👋'));
  await until('the emoji arrives', async () => (await told(first, 'emoji')).length === 1);
  await second.close();
  await until('the other is told', async () => (await told(first, 'user-left')).length === 1);
  await first.evaluate(() => window.page.leave());
  await until('the room is gone', async () => (await fetch(`${api}/rooms/${id}`)).status === 404);
  const late = await older(await device(t, chromium), 'Late');
  const [closed] = await until('it is closed', async () => {
    const closes = await late.evaluate(() => window.log?.closes);
    return closes?.length && closes;
  });
  assert.deepEqual(closed, { code: 1008, reason: 'Room does not exist' });
});
