// Leads from a browser inside another app to the phone's own browser.

import { load } from './catalogue.js';
import { byId } from './dom.js';

const texts = await load(document.documentElement.dataset.assets);
const { href, host, pathname, search, protocol } = location;

/** The address that opens this page in the phone's own browser, if the phone has such addresses. */
function outside() {
  const agent = navigator.userAgent;
  if (/Android/.test(agent)) return `intent://${host}${pathname}${search}#Intent;scheme=${protocol.slice(0, -1)};action=android.intent.action.VIEW;category=android.intent.category.BROWSABLE;end`;
  if (/iPhone|iPad|iPod/.test(agent)) return `x-safari-${href}`;
  return null;
}

async function copy() {
  byId('link').select();
  try {
    await navigator.clipboard.writeText(href);
  } catch {
    // Older browsers have only this way; in some apps there is none, and the link stays marked.
    if (!document.execCommand('copy')) return;
  }
  byId('copied').textContent = texts.text('inapp.copied');
}

const address = outside();
byId('outside-box').hidden = !address;
if (address) byId('outside').href = address;
byId('copy').className = address ? 'secondary' : 'primary';
byId('copy').hidden = false;
byId('copy').addEventListener('click', copy);
byId('link').value = href;
byId('link').addEventListener('focus', ({ target }) => target.select());
