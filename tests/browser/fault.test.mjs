// A fault of the service's is told as such, in its own words: not as a link that expired, nor as the participant's network.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, Service, browser, click, device, goIn, hidden, screen, until, visible } from './support.mjs';

const [service, chromium] = await Promise.all([Service.start(), browser()]);

/** Lets the test close the page's socket as the service would, and say something for the service. */
const HELD = `window.WebSocket = class extends WebSocket {
  constructor(...given) {
    super(...given);
    window.opened = (window.opened ?? 0) + 1;
    window.held = this;
  }
};`;

for (const [locale, words, refused] of [
  ['en-GB', /our fault/, /our fault/],
  ['es-ES', /culpa nuestra/, /culpa nuestra/],
]) {
  test(`a connection that is closed with 1011, and a command that fails, ${locale}`, async (t) => {
    const session = await service.session();
    const doctor = await goIn(await device(t, chromium, { ...PHONE, locale, script: HELD }), await session.doctor());
    await screen(doctor, 'call');
    await doctor.evaluate(() => window.held.dispatchEvent(new CloseEvent('close', { code: 1011 })));
    await visible(doctor, 'lost');
    assert.match(await doctor.getByTestId('lost').textContent(), words);
    await hidden(doctor, 'lost', 30_000);
    assert.equal(await doctor.evaluate(() => window.opened), 2);

    const patient = await goIn(await device(t, chromium, PHONE), await session.patient());
    await screen(patient, 'call');
    // The service's refusal, in the place of its answer.
    await doctor.evaluate(() => {
      window.held.send = () => window.held.dispatchEvent(new MessageEvent('message', { data: '{"type":"error","code":"internal","message":"x"}' }));
    });
    await click(doctor, 'people');
    await click(doctor, 'mute-other');
    await until('the note', async () => (await doctor.getByTestId('note').allTextContents()).some((text) => refused.test(text)));
  });
}
