// Who waits, who is let in, who is sent away, and what a link that is not good says.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, SMALL, Service, accessible, browser, click, device, ended, freePort, goIn, meet, open, resign, screen, seen, start, until, visible } from './support.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);

const HOUR_MS = 3600_000;
const inFuture = (ms) => new Date(Date.now() + ms).toISOString();

/** The error page, with the words of its code. */
async function refused(page, status, code) {
  assert.equal(page.answer.status(), status);
  assert.equal(await page.evaluate(() => document.documentElement.dataset.code), code);
  for (const part of ['error-title', 'error-text', 'error-todo']) assert.ok((await page.getByTestId(part).textContent()).length > 10, `${code}: ${part}`);
}

test('the patient waits, the doctor comes, and the call begins by itself', async (t) => {
  const session = await service.session();
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  await screen(patient, 'waiting');
  await until('who is waited for', async () => (await patient.getByTestId('waiting-title').textContent()) === 'Waiting for the doctor');
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  await screen(patient, 'call');
  await Promise.all([seen(patient), seen(doctor)]);
});

test('the doctor lets each one in', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_MANUAL' });
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  await screen(doctor, 'call');
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  await screen(patient, 'waiting');
  await until('that the doctor lets in', async () => (await patient.getByTestId('waiting-title').textContent()) === 'You will be let in soon');
  await visible(doctor, 'knock');
  assert.match(await doctor.getByTestId('knock').textContent(), /Rosa Pérez is waiting/);
  await click(doctor, 'knock-admit');
  await screen(patient, 'call');
  await Promise.all([seen(patient), seen(doctor)]);
  assert.equal(await doctor.getByTestId('knock').count(), 0);
});

test('whoever waits is let in from the panel, after the doctor loaded the page again', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_MANUAL' });
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  await screen(patient, 'waiting');
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  await visible(doctor, 'knock');
  await doctor.reload();
  await visible(doctor, 'knock');
  await click(doctor, 'people');
  await click(doctor, 'admit');
  await screen(patient, 'call');
  await seen(patient);
});

test('one who is removed cannot come back with the old link, nor after the service was killed', async (t) => {
  const own = await Service.start();
  const session = await own.session();
  const old = await session.patient();
  const { doctor, patient } = await meet(t, chromium, session);
  await click(doctor, 'people');
  await click(doctor, 'remove');
  await doctor.getByTestId('keep-out').check();
  await click(doctor, 'remove-confirm');
  await ended(patient, 'removed');
  await until('nobody else is there', async () => (await doctor.getByTestId('remote').count()) === 0);
  const page = patient.url();
  const tries = async () => {
    const again = await device(t, chromium);
    await refused(await open(again, old), 403, 'removed');
    await refused(await open(patient.context(), page), 403, 'removed');
    await assert.rejects(session.patient(), /PARTICIPANT_REMOVED|removed/);
  };
  await tries();
  await own.stop('SIGKILL');
  await own.run();
  await tries();
});

test('one who is removed but not kept out gets in with a new link only', async (t) => {
  const session = await service.session();
  const old = await session.patient();
  const { doctor, patient } = await meet(t, chromium, session);
  await click(doctor, 'people');
  await click(doctor, 'remove');
  assert.equal(await doctor.getByTestId('keep-out').isChecked(), false);
  await click(doctor, 'remove-confirm');
  await ended(patient, 'removed');
  await refused(await open(patient.context(), old), 403, 'removed');
  const again = await goIn(patient.context(), await session.patient());
  await screen(again, 'call');
  await seen(again);
});

test('the doctor ends it for everybody, those who wait too, after being asked once more', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_MANUAL' });
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  await visible(doctor, 'knock');
  await click(doctor, 'knock-admit');
  await seen(patient);
  const guest = await goIn(await device(t, chromium), await session.invite('ROLE_GUEST', 'Gil'));
  await screen(guest, 'waiting');
  await click(doctor, 'people');
  await click(doctor, 'end-all');
  await click(doctor, 'end-cancel');
  await doctor.waitForTimeout(500);
  await screen(patient, 'call');
  const started = Date.now();
  await click(doctor, 'end-all');
  await click(doctor, 'end-confirm');
  await Promise.all([ended(patient, 'ended-by-host'), ended(guest, 'ended-by-host'), ended(doctor, 'ended-by-you')]);
  t.diagnostic(`everybody told within ${Date.now() - started} ms`);
  await patient.reload();
  assert.equal(await patient.evaluate(() => document.documentElement.dataset.code), 'ended');
});

test('a host who leaves may end it instead', async (t) => {
  const { doctor, patient } = await meet(t, chromium, await service.session());
  await click(doctor, 'leave');
  await click(doctor, 'leave-end');
  await ended(patient, 'ended-by-host');
  await ended(doctor, 'ended-by-you');
});

test('the backend ends it', async (t) => {
  const session = await service.session();
  const { doctor, patient } = await meet(t, chromium, session);
  await session.end('the appointment was cancelled');
  await Promise.all([ended(doctor, 'ended'), ended(patient, 'ended')]);
});

test('a session that is full says so', async (t) => {
  const session = await service.session({ max_participants: 2 });
  await meet(t, chromium, session);
  const guest = await goIn(await device(t, chromium), await session.invite('ROLE_GUEST', 'Gil'));
  await screen(guest, 'end');
  assert.match(await guest.getByTestId('end-title').textContent(), /full/);
});

test('error pages', async (t) => {
  const [session, other] = await Promise.all([service.session(), service.session()]);
  const link = await session.patient();
  const at = await device(t, chromium, PHONE);
  const unknown = `sess_${'0'.repeat(32)}`;
  const seconds = Math.floor(Date.now() / 1000);
  const cases = [
    ['missing-token', 401, link.split('?')[0]],
    ['forged', 401, resign(link, {}, 'not the secret of this service, but another')],
    ['expired', 401, resign(link, { exp: seconds - HOUR_MS / 1000 })],
    ['other-session', 403, link.replace(session.id, other.id)],
    ['unknown-session', 404, resign(link, { sessionId: unknown }).replace(session.id, unknown)],
    ['not-found', 404, `${service.url}/nothing`],
  ];
  for (const [code, status, address] of cases) {
    await t.test(code, async () => {
      const page = await open(at, address);
      await refused(page, status, code);
      assert.equal(await page.getByTestId('retry').isVisible(), false, 'trying again would not help');
      if (address.includes('token')) await until('the dead token is off the address', () => !page.url().includes('token'));
      await accessible(page, code);
    });
  }
  await t.test('ended', async () => {
    await session.end('');
    await refused(await open(at, link), 410, 'ended');
  });
  await t.test('in Spanish', async () => {
    const spanish = await device(t, chromium, { locale: 'es-MX' });
    const page = await open(spanish, link.split('?')[0]);
    assert.equal(await page.getByTestId('error-title').textContent(), 'Su enlace no está completo');
    assert.equal(await page.evaluate(() => document.documentElement.lang), 'es');
  });
  await t.test('without JavaScript', async () => {
    const plain = await device(t, chromium, { javaScriptEnabled: false });
    const page = await open(plain, link.split('?')[0]);
    assert.equal(await page.getByTestId('error-title').textContent(), 'Your link is not complete');
  });
});

test('too early: the door opens in the reader’s own time, and the page goes in by itself', async (t) => {
  const own = await Service.start({ JOIN_EARLY_SECS: '0' });
  const session = await own.session();
  const link = await session.patient();
  await session.rpc('UpdateSession', { scheduled_start_time: inFuture(3 * HOUR_MS) });
  const at = await device(t, chromium, { ...PHONE, timezoneId: 'America/Mexico_City' });
  const page = await open(at, link);
  await refused(page, 425, 'too-early');
  await until('the countdown', () => page.getByTestId('countdown').isVisible());
  assert.match(await page.getByTestId('opens-at').textContent(), /\(CST\)|\(GMT-6\)/);
  assert.match(await page.getByTestId('countdown').textContent(), /^In (3 hours|2 hours, 59 minutes)\.$/);
  assert.ok(!page.url().includes('token'), 'the page that waits has no token in its address');
  await session.rpc('UpdateSession', { scheduled_start_time: inFuture(8000) });
  await page.reload();
  await screen(page, 'ready', 30_000);
});

test('when the time is over, the call ends and says so', async (t) => {
  const own = await Service.start({ JOIN_LATE_SECS: '0', OVERDUE_INTERVAL_MS: '100' });
  const session = await own.session({ scheduled_end_time: inFuture(HOUR_MS) });
  const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
  await screen(patient, 'waiting');
  await session.rpc('UpdateSession', { scheduled_end_time: inFuture(1000) });
  await ended(patient, 'time-over');
});

test('too late, also before the service has come round to ending it', async (t) => {
  const own = await Service.start({ JOIN_LATE_SECS: '0', OVERDUE_INTERVAL_MS: '60000' });
  // Time enough for the link on a loaded machine.
  const session = await own.session({ scheduled_end_time: inFuture(10_000) });
  const page = await open(await device(t, chromium, PHONE), await session.patient());
  await until('the door is closed', async () => {
    page.answer = await page.reload();
    return page.answer.status() !== 200;
  });
  await refused(page, 410, 'too-late');
  await accessible(page, 'too late');
});

test('a store that is away: the link is still good, its token leaves the address, and the page tries again', async (t) => {
  const link = new URL(await (await service.session()).patient());
  const own = await Service.start({ MONGO_URI: `mongodb://127.0.0.1:${await freePort()}/nothing`, STORE_TIMEOUT_MS: '500' });
  const page = await open(await device(t, chromium, PHONE), link.href.replace(link.origin, own.url));
  await refused(page, 503, 'store-away');
  assert.ok(await page.getByTestId('retry').isVisible());
  assert.ok(!page.url().includes('token'), page.url());
  await accessible(page, 'store away');
});

test('whoever comes without a name is asked for one', async (t) => {
  const session = await service.session();
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  const patient = await open(await device(t, chromium, SMALL), await session.patient(''));
  await screen(patient, 'ready');
  const [field, button] = await Promise.all(['name', 'start'].map((testid) => patient.getByTestId(testid).boundingBox()));
  assert.ok(field.y + field.height <= button.y, 'the field is not hidden behind the button');
  await patient.getByLabel('Your name').fill('Rosa <Pérez>');
  await accessible(patient, 'with a name to fill in');
  await start(patient);
  await seen(doctor, { name: 'Rosa <Pérez>' });
  await patient.reload();
  await seen(doctor, { name: 'Rosa <Pérez>' });
  await seen(patient);
});

test('under a path prefix', async (t) => {
  const port = await freePort();
  const env = { HTTP_ADDR: `127.0.0.1:${port}`, CLIENT_BASE_URL: `http://127.0.0.1:${port}/care/video` };
  // Two instances cannot have one address.
  const own = await Service.start(env, { instances: 1 });
  const { patient } = await meet(t, chromium, await own.session());
  assert.match(patient.url(), /\/care\/video\/join\/sess_/);
});

test('too many requests', async (t) => {
  const own = await Service.start({ HTTP_REQUESTS_PER_MINUTE: '1' });
  const at = await device(t, chromium);
  const statuses = [];
  for (let tries = 0; tries < 4; tries += 1) {
    const page = await open(at, `${own.url}/join/x`);
    statuses.push(page.answer.status());
    if (page.answer.status() === 429) await refused(page, 429, 'rate-limited');
  }
  assert.ok(statuses.includes(429), statuses.join());
});

test('a credential of one session opens no other', async (t) => {
  const [one, two] = await Promise.all([service.session(), service.session()]);
  const at = await device(t, chromium);
  const page = await open(at, await one.patient());
  await screen(page, 'ready');
  const stolen = new URL(page.url().replace(one.id, two.id));
  const answer = await at.request.get(stolen.href);
  assert.ok([401, 403].includes(answer.status()), String(answer.status()));
});

test('a call on a node that pages cannot use says so', async (t) => {
  const session = await service.session();
  const context = await device(t, chromium, PHONE);
  await context.routeWebSocket(/./, (socket) => {
    const server = socket.connectToServer();
    server.onMessage((message) => socket.send(message.replace('"media":"builtin"', '"media":"openvidu"')));
  });
  const patient = await goIn(context, await session.patient());
  await ended(patient, 'other-app');
  await accessible(patient, 'a call that is elsewhere');
});
