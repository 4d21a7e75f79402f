// How much a phone must load before it shows the first screen.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { PHONE, Service, browser, device, ended, goIn, open, screen, seen, until } from './support.mjs';

const BYTES_MAX = 50_000;

const [chromium, service] = await Promise.all([browser(), Service.start()]);

test('the first screen needs little, and nothing of it waits for the call\'s modules', async (t) => {
  const session = await service.session();
  const page = await open(await device(t, chromium, PHONE), await session.patient());
  await screen(page, 'ready');
  const { loaded, preloaded } = await page.evaluate(() => {
    const shown = performance.getEntriesByName('first-screen')[0].startTime;
    const entries = [...performance.getEntriesByType('navigation'), ...performance.getEntriesByType('resource')];
    const path = ({ name }) => new URL(name).pathname;
    return {
      loaded: entries.filter(({ responseEnd }) => responseEnd <= shown).map((entry) => ({ path: path(entry), bytes: entry.transferSize, shown })),
      preloaded: [...document.querySelectorAll('[rel=modulepreload]')].map(({ href }) => new URL(href).pathname),
    };
  });
  const bytes = loaded.reduce((sum, entry) => sum + entry.bytes, 0);
  t.diagnostic(`${loaded.length} requests, ${bytes} bytes, first screen after ${Math.round(loaded[0].shown)} ms`);
  assert.ok(bytes < BYTES_MAX, JSON.stringify(loaded));
  const modules = loaded.map(({ path }) => path).filter((path) => path.endsWith('.js') && !/\/(main|old)\.js$/.test(path));
  assert.deepEqual(modules.toSorted(), preloaded.toSorted(), 'what is preloaded is what the first screen needs');
});

test('a call whose modules could not be loaded begins once the connection is back', async (t) => {
  const session = await service.session({ admission: 'ADMISSION_OPEN' });
  const at = await device(t, chromium, PHONE);
  const isCallModule = /\/js\/(session|call)\.js$/;
  await at.route(isCallModule, (route) => route.abort());
  const patient = await open(at, await session.patient());
  await screen(patient, 'ready');
  await until('it asks for them', () => patient.evaluate(() => performance.getEntriesByType('resource').some(({ name }) => name.endsWith('/js/waiting.js'))));
  await patient.getByTestId('start').click();
  await at.unroute(isCallModule);
  const doctor = await goIn(await device(t, chromium), await session.doctor());
  await Promise.all([seen(patient), seen(doctor)]);
  await session.end('over');
  await ended(patient, 'ended');
});
