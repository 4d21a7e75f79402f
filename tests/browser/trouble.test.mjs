// What is told when something goes wrong, and by whom it is heard; raised hands; the keyboard's shortcuts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Lines } from '../../web/js/lines.js';
import { buttonFor } from '../../web/js/shortcuts.js';
import { count, Quality, rate } from '../../web/js/quality.js';
import { Tally, worst } from '../../web/js/tally.js';
import { aloneKey, blame, changesOf, flows, isFrozen, kindOf, leftKey, pick, trouble } from '../../web/js/trouble.js';
import { inOrder, next } from '../../web/js/hands.js';
import { DESKTOP, PHONE, Service, Turn, Wire, accessible, browser, click, device, freePort, goIn, hidden, meet, picture, screen, seen, start, open, until, visible } from './support.mjs';

// --- without a browser ------------------------------------------------------------------------------------------------

const connected = { userId: 'a', publishes: true, state: 'connected', cameraOff: false, screen: false };
const about = (kind, whose = null, userId = 'a') => ({ userId, kind, whose });
const told = (given) => trouble({ fault: false, lost: false, flowing: false, people: [], ...given })?.key;

test('one trouble is told, the most important one', () => {
  assert.equal(told({}), undefined);
  assert.equal(told({ people: [about('weak', null, 'a'), about('frozen', null, 'b'), about('frozen', null, 'c')] }), 'call.frozen');
  assert.equal(trouble({ people: [about('frozen', null, 'b'), about('frozen', null, 'c')] }).userId, 'b');
  assert.equal(told({ people: [about('frozen', 'theirs')] }), 'call.frozen.theirs');
  assert.equal(told({ people: [about('stuck', null, 'b'), about('frozen', 'own')] }), 'call.own.frozen');
  assert.equal(told({ lost: true, people: [about('frozen', 'own')] }), 'call.lost');
  assert.equal(told({ lost: true, flowing: true }), 'call.lost.media');
  assert.equal(told({ lost: true, flowing: true, fault: true }), 'call.lost.fault');
  // How to try again does not depend on whose connection it is.
  assert.equal(told({ people: [about('stuck', 'theirs')] }), 'call.stuck');
});

test('notes go before troubles only if they are loud, and the newest of equals is shown', () => {
  const [frozen, loud, quiet, later] = [{ kind: 'frozen' }, { loud: true }, { loud: false }, { loud: false, later: true }];
  assert.equal(pick([]), null);
  assert.equal(pick([loud, frozen]), loud);
  assert.equal(pick([frozen, quiet]), frozen);
  assert.equal(pick([quiet, later]), later);
});

test('a picture is frozen if it should move and does not', () => {
  const now = 100_000;
  const person = { ...connected, quality: { frameAt: now - 1900, packetAt: now - 1900 } };
  assert.ok(isFrozen(person, { now, since: 0 }));
  assert.equal(kindOf(person, { now, since: 0 }), 'frozen');
  assert.ok(!isFrozen(person, { now, since: now - 1000 }), 'it has just begun');
  for (const change of [{ cameraOff: true }, { screen: true }, { publishes: false }, { state: 'interrupted' }, { quality: null }, { quality: { frameAt: 0 } }, { quality: { frameAt: now - 900 } }]) {
    assert.ok(!isFrozen({ ...person, ...change }, { now, since: 0 }), JSON.stringify(change));
  }
  assert.ok(!flows(person, now), 'a frozen picture is not said to be seen');
  assert.ok(flows({ ...person, quality: { packetAt: now - 1000 } }, now));
  assert.ok(!flows({ ...person, state: 'interrupted', quality: { packetAt: now } }, now));
  const interrupted = { ...person, state: 'interrupted' };
  assert.equal(kindOf(interrupted, { now, since: 0 }), 'interrupted');
  assert.equal(kindOf({ ...interrupted, quality: null }, { now, since: 0 }), 'interrupted');
  assert.equal(kindOf({ ...interrupted, quality: { packetAt: now - 1000 } }, { now, since: 0 }), null, 'for a moment only');
});

test('nobody is blamed unless it is known', () => {
  assert.equal(blame({ own: 'good', theirs: 'unknown' }), null);
  assert.equal(blame({ own: 'good', theirs: 'good' }), null);
  assert.equal(blame({ own: 'good', theirs: 'weak' }), 'theirs');
  assert.equal(blame({ own: 'good', theirs: 'silent' }), 'theirs');
  assert.equal(blame({ own: 'weak', theirs: 'weak' }), 'own');
  assert.equal(blame({ own: 'good', theirs: 'unknown', server: 'theirs' }), 'theirs');
});

test('a page that does not answer is cut off only if it used to answer, and the service answers us', () => {
  const sent = [];
  const lines = new Lines({ send: (type, fields) => sent.push(fields.data), own: () => 'good' });
  const of = (now, confirmedAt) => lines.of('a', { now, confirmedAt });
  lines.ask('a', 1000);
  assert.equal(of(9000, 9000), 'unknown', 'it may be an old page');
  lines.handle({ sender_id: 'a', data: { weak: true, asks: false } }, 10_000);
  assert.equal(of(10_500, 0), 'weak');
  lines.ask('a', 12_000);
  assert.equal(of(13_000, 13_000), 'unknown');
  assert.equal(of(14_500, 11_000), 'unknown', 'we may be cut off ourselves');
  assert.equal(of(14_500, 13_900), 'silent');
  lines.handle({ sender_id: 'a', data: { weak: false } }, 14_600);
  assert.equal(of(14_700, 13_900), 'good');
  lines.ask('a', 15_000);
  assert.equal(of(18_000, 17_900), 'silent');
  lines.renew();
  assert.equal(of(18_000, 17_900), 'good', 'what was asked over a lost connection is not waited for');
  sent.length = 0;
  for (let n = 0; n < 50; n += 1) lines.handle({ sender_id: 'a', data: { asks: true } }, 20_000 + n);
  assert.deepEqual(sent, [{ weak: false, asks: false }], 'a flood is answered once');
  for (const data of [null, 7, 'x', undefined]) lines.handle({ sender_id: 'a', data }, 30_000);
});

test('statistics are rated by their worst reason', () => {
  const base = { received: 0, lost: 0, remoteLoss: 0, roundTrip: 0, frames: 0, room: Infinity };
  const rated = (now) => Object.values(rate({ ...base, ...now }, base)).join(' ').trim();
  assert.equal(rated({ received: 100 }), 'good');
  assert.equal(rated({ received: 90, lost: 10 }), 'weak loss');
  assert.equal(rated({ received: 70, lost: 30, roundTrip: 0.7 }), 'bad loss');
  assert.equal(rated({ roundTrip: 0.7 }), 'weak latency');
  assert.equal(rated({ room: 100_000 }), 'weak bandwidth');
  assert.equal(rated({ room: 20_000, roundTrip: 0.7 }), 'bad bandwidth');
  const report = (...entries) => new Map(entries.entries());
  const pair = { type: 'candidate-pair', nominated: true, state: 'succeeded', availableOutgoingBitrate: 90_000 };
  assert.equal(count(report(pair)).room, Infinity);
  const limited = { type: 'outbound-rtp', qualityLimitationReason: 'bandwidth' };
  assert.equal(count(report(pair, limited)).room, 90_000);
  assert.equal(count(report(pair, { ...pair, availableOutgoingBitrate: undefined }, limited)).room, 90_000, 'a former pair says nothing');
  const quality = new Quality();
  const video = (framesDecoded, packetsReceived) => report({ type: 'inbound-rtp', kind: 'video', framesDecoded, packetsReceived });
  for (const [at, frames, packets] of [[1, 0, 0], [2, 5, 9], [3, 5, 12]]) quality.take(video(frames, packets), at);
  assert.deepEqual([quality.value.frameAt, quality.value.packetAt, quality.value.level], [2, 3, 'good']);
});

test('seconds are counted by level and reason', () => {
  assert.equal(worst([]), null);
  assert.deepEqual(worst([{ quality: { level: 'weak', reason: 'loss' } }, { kind: 'frozen', quality: { level: 'good' } }]), { level: 'bad', reason: 'frozen' });
  const tally = new Tally();
  for (const [now, rating] of [[1000, { level: 'good' }], [3500, { level: 'good' }], [5000, { level: 'bad', reason: 'loss' }], [6000, null], [7000, { level: 'bad', reason: 'loss' }], [3_000_000, { level: 'good' }]]) tally.add(rating, now);
  // A device that slept counts little.
  assert.deepEqual(tally.data, { good: 7, bad: { loss: 2 } });
  const again = new Tally();
  again.restore(JSON.parse(JSON.stringify(tally.save())));
  assert.deepEqual(again.data, tally.data);
});

test('who is alone is told whether to wait', () => {
  const gone = (role, cause) => ({ role, cause });
  assert.equal(aloneKey({ role: 'patient', gone: null }), 'call.alone');
  assert.equal(aloneKey({ role: 'patient', gone: gone('doctor', 'left') }), 'call.alone.doctor.left');
  assert.equal(aloneKey({ role: 'patient', gone: gone('doctor', 'lost') }), 'call.alone.doctor.lost');
  assert.equal(aloneKey({ role: 'patient', gone: gone('interpreter', 'lost') }), 'call.alone');
  assert.equal(aloneKey({ role: 'doctor', gone: gone('patient', 'lost') }), 'call.alone.patient.lost');
  assert.equal(aloneKey({ role: 'doctor', gone: gone('patient', 'removed') }), 'call.alone.doctor');
  assert.equal(aloneKey({ role: 'doctor', knocks: true, gone: gone('patient', 'left') }), 'call.alone.knock');
  assert.equal(leftKey({ role: 'doctor' }, 'left'), 'call.left.host');
  assert.equal(leftKey({ role: 'patient' }, 'lost'), 'call.vanished');
  assert.equal(leftKey({ role: 'doctor' }, 'removed'), 'call.wasRemoved');
});

test('changes are said once, and a shown screen is no camera', () => {
  const plain = { muted: false, cameraOff: false, screen: false, hand: 0 };
  assert.deepEqual(changesOf(plain, { ...plain }), []);
  assert.deepEqual(changesOf(plain, { ...plain, cameraOff: true }), ['call.cameraWentOff']);
  assert.deepEqual(changesOf({ ...plain, cameraOff: true }, { ...plain, screen: true }), [], 'the stage says that');
  assert.deepEqual(changesOf(plain, { ...plain, muted: true, hand: 4 }), ['hand.raised']);
  assert.deepEqual(changesOf({ ...plain, hand: 4 }, { ...plain, hand: 7 }), []);
});

test('hands stand in the order of their raising', () => {
  const people = [{ userId: 'c', hand: 2 }, { userId: 'b', hand: 1 }, { userId: 'a', hand: 2 }, { userId: 'd', hand: 0 }, { userId: 'e' }];
  assert.deepEqual(inOrder(people).map(({ userId }) => userId), ['b', 'a', 'c']);
  assert.equal(next(people), 3);
  assert.equal(next([]), 1);
});

test('keys are for the call only, not for fields, dialogs or the browser', () => {
  const on = { on: true, dialog: false };
  assert.equal(buttonFor({ key: 'm' }, on), 'mute');
  assert.equal(buttonFor({ key: 'M', shiftKey: true }, on), 'mute');
  assert.equal(buttonFor({ key: '?', shiftKey: true }, on), 'shortcuts');
  assert.equal(buttonFor({ key: 'x' }, on), null);
  for (const more of [{ ctrlKey: true }, { altKey: true }, { metaKey: true }, { repeat: true }, { isComposing: true }, { target: { tagName: 'INPUT' } }, { target: { tagName: 'SELECT' } }, { target: { isContentEditable: true } }]) {
    assert.equal(buttonFor({ key: 'm', ...more }, on), null, JSON.stringify(more));
  }
  assert.equal(buttonFor({ key: 'm' }, { on: false, dialog: false }), null);
  assert.equal(buttonFor({ key: 'm' }, { on: true, dialog: true }), null);
});

// --- with one ---------------------------------------------------------------------------------------------------------

const [service, chromium, turn] = await Promise.all([Service.start(), browser(), Turn.start()]);
const wirePort = await freePort();
const relayed = await Service.start({ ...turn.env, HTTP_ALLOWED_ORIGINS: `http://127.0.0.1:${wirePort}` });

/** Three seconds, and what a loaded machine adds. */
const FROZEN_WITHIN_MS = 5000;

/** What a screen reader is told from now on, in a list of the page's. */
const listen = (page) =>
  page.evaluate(() => {
    window.said = [];
    for (const id of ['status', 'alert']) new MutationObserver(() => document.getElementById(id).textContent && window.said.push(document.getElementById(id).textContent)).observe(document.getElementById(id), { childList: true });
  });
const said = (page, what) => until(`it is said: ${what}`, async () => (await page.evaluate(() => window.said)).some((text) => what.test(text)));

test('a picture that stands still is noticed within three seconds, and nobody is blamed without knowledge', async (t) => {
  const session = await relayed.session();
  const wire = await Wire.to(t, `http://127.0.0.1:${turn.port}`);
  const doctor = await goIn(await device(t, chromium, DESKTOP), await session.doctor());
  const patient = await goIn(await device(t, chromium, { ...PHONE, script: turn.through(wire) }), await session.patient());
  await Promise.all([seen(patient), seen(doctor)]);
  // Only media breaks: both reach the service.
  const noticed = doctor.evaluate(async () => {
    const video = document.querySelector('[data-testid=remote-video]');
    let last = performance.now();
    const count = () => {
      last = performance.now();
      video.requestVideoFrameCallback(count);
    };
    video.requestVideoFrameCallback(count);
    const shown = () => ['remote-state', 'trouble'].map((id) => document.querySelector(`[data-testid=${id}]`)).find(({ hidden }) => !hidden);
    while (!shown()) await new Promise((resolve) => setTimeout(resolve, 20));
    return { ms: performance.now() - last, text: shown().textContent };
  });
  await sleep(500);
  wire.cut();
  const { ms, text } = await noticed;
  t.diagnostic(`noticed after ${Math.round(ms)} ms`);
  // On a loaded machine, the pages' ways to the service are weak, too.
  assert.match(text, /stands still/);
  assert.ok(ms < FROZEN_WITHIN_MS, `noticed after ${ms} ms`);
  await picture(doctor, 'frozen-desktop');
  await accessible(doctor, 'a frozen picture');
  assert.equal(await doctor.evaluate(() => [...document.querySelectorAll('#lost, #trouble, .note, .tile-state')].filter((one) => one.checkVisibility()).length), 1, 'one message');
  wire.mend();
  await Promise.all([seen(patient), hidden(doctor, 'remote-state'), hidden(doctor, 'trouble')]);
});

test('who is away from the service is told of as such, and who loses it is not told that others may be seen', async (t) => {
  const session = await relayed.session();
  const wires = [await Wire.to(t, relayed.url, wirePort), await Wire.to(t, `http://127.0.0.1:${turn.port}`)];
  const doctor = await goIn(await device(t, chromium, DESKTOP), await session.doctor());
  const patient = await goIn(await device(t, chromium, { ...PHONE, script: turn.through(wires[1]) }), wires[0].link(await session.patient()));
  await Promise.all([seen(patient), seen(doctor)]);
  for (const wire of wires) wire.cut();
  await until('the doctor knows whose connection it is', async () => /Rosa Pérez.*(connection is weak|has no connection)/.test(await doctor.getByTestId('remote-state').textContent()));
  await until('the patient knows, too', async () => /Your connection is weak|Connection lost\. We are/.test(await patient.locator('#notices').innerText()));
  assert.doesNotMatch(await patient.locator('#notices').innerText(), /still see/);
  for (const wire of wires) wire.mend();
});

test('a doctor who leaves without ending: the patient is told to wait', async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await listen(patient);
  await click(doctor, 'leave');
  await click(doctor, 'leave-only');
  await said(patient, /Dr\. Ana Ruiz has left, but may come back/);
  assert.match(await patient.getByTestId('alone').textContent(), /consultation is not over.*may come back/);
  await accessible(patient, 'the doctor is away');
  await click(doctor, 'again');
  await start(doctor);
  await Promise.all([seen(patient), seen(doctor)]);
  await patient.getByTestId('leave').click();
  await until('the doctor is told, too', async () => /can come back with the same link/.test(await doctor.getByTestId('alone').textContent()));
});

test('cameras, screens and hands are said, and hands stay', async (t) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  await Promise.all([listen(doctor), listen(patient)]);
  await click(doctor, 'camera');
  await said(patient, /Dr\. Ana Ruiz’s camera is off/);
  await click(doctor, 'camera');
  await said(patient, /Dr\. Ana Ruiz’s camera is on/);
  await click(doctor, 'share');
  await said(patient, /Dr\. Ana Ruiz shows their screen/);
  await click(doctor, 'share');
  await said(patient, /no longer shows their screen/);
  await click(patient, 'more');
  await click(patient, 'hand');
  await Promise.all([said(doctor, /Rosa Pérez has raised their hand/), visible(doctor, 'remote-hand'), visible(patient, 'self-hand')]);
  // A page that is loaded anew is told of it, and keeps its own.
  await doctor.reload();
  await visible(doctor, 'remote-hand');
  await patient.reload();
  await visible(patient, 'self-hand');
  await seen(doctor);
  await click(doctor, 'people');
  await visible(doctor, 'raised');
  await accessible(doctor, 'a raised hand');
  await picture(doctor, 'hand-desktop');
  await click(doctor, 'lower');
  await Promise.all([hidden(patient, 'self-hand'), hidden(doctor, 'remote-hand')]);
});

test('shortcuts: keys, their list, and without them', async (t) => {
  const { doctor } = await meet(t, chromium, await service.session());
  const muted = async () => (await doctor.getByTestId('mute').textContent()) === 'Unmute';
  await doctor.keyboard.press('m');
  await until('muted', muted);
  await doctor.keyboard.press('Control+m');
  await doctor.keyboard.press('?');
  await visible(doctor, 'shortcuts-dialog');
  await doctor.keyboard.press('m');
  assert.ok(await muted(), 'nothing happens behind a dialog');
  await accessible(doctor, 'the shortcuts');
  await picture(doctor, 'shortcuts-desktop');
  await doctor.getByTestId('shortcuts-on').uncheck();
  await click(doctor, 'shortcuts-close');
  await doctor.keyboard.press('m');
  await doctor.keyboard.press('p');
  assert.ok((await muted()) && (await doctor.getByTestId('panel').isHidden()), 'they are off');
  await doctor.reload();
  await screen(doctor, 'call');
  await click(doctor, 'shortcuts');
  assert.equal(await doctor.getByTestId('shortcuts-on').isChecked(), false, 'and stay so');
  await doctor.getByTestId('shortcuts-on').check();
  await doctor.keyboard.press('Escape');
  await doctor.keyboard.press('p');
  await visible(doctor, 'panel');
});

test('a microphone that works is said', async (t) => {
  const session = await service.session();
  const page = await open(await device(t, chromium), await session.patient());
  await screen(page, 'ready');
  await listen(page);
  await said(page, /Your microphone works/);
});

test('how good the connection was comes with the end', async (t) => {
  const session = await service.session();
  const { patient } = await meet(t, chromium, session);
  await sleep(2500);
  await click(patient, 'leave');
  const left = await until('the event', async () => (await session.rpc('ListSessionEvents', { page_size: 100 })).events.find(({ type }) => type === 'participant.left'));
  assert.ok(left.participantLeft.quality, JSON.stringify(left));
});
