// The page of the JSON edge: every call is listed, calls can be tried, and nothing is loaded from elsewhere or kept.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { SECRET, Service, WAIT_MS, browser, device } from './support.mjs';

const [chromium, service] = await Promise.all([browser(), Service.start({ REST_ADDR: '127.0.0.1:0' })]);

/** Tries a call with the examples that the page shows; answers the status and what came. */
async function trying(page, call) {
  const block = page.locator(`.opblock[id$="-${call}"]`);
  await block.locator('.opblock-summary').first().click();
  await block.locator('button.try-out__btn').click();
  await block.locator('button.execute').click();
  const answer = block.locator('.live-responses-table');
  await answer.waitFor({ timeout: WAIT_MS });
  const status = await answer.locator('.response-col_status').last().innerText();
  return { status: Number.parseInt(status, 10), text: await answer.locator('.highlight-code').first().innerText() };
}

test('calls can be tried on the page with the secret', async (t) => {
  const context = await device(t, chromium);
  const page = await context.newPage();
  const [said, hosts] = [[], new Set()];
  page.on('console', (message) => said.push(message.text()));
  page.on('request', (request) => hosts.add(new URL(request.url()).host));
  const address = service.addresses.rest_addr;
  await page.goto(`http://${address}/docs`);
  await page.locator('.opblock').first().waitFor({ timeout: WAIT_MS });
  assert.equal(await page.locator('.opblock').count(), 22);
  assert.equal((await trying(page, 'ListNodes')).status, 401);
  await page.locator('button.authorize').first().click();
  await page.locator('.modal-ux input').first().fill(SECRET);
  await page.locator('.modal-ux button.authorize').first().click();
  await page.locator('.modal-ux button.btn-done').first().click();
  const created = await trying(page, 'CreateSession');
  assert.equal(created.status, 200);
  assert.match(created.text, /sess_[0-9a-f]{32}/);
  assert.deepEqual([...hosts].filter((host) => host && host !== address), []);
  // A browser says on the console what a policy keeps out; what the first call got is said there, too.
  assert.deepEqual(said.filter((text) => !text.includes('401')), []);
  const kept = await page.evaluate(() => [Object.keys(localStorage), Object.keys(sessionStorage), document.cookie]);
  assert.deepEqual(kept, [[], [], '']);
});
