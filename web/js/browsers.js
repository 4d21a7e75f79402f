// Which browser this is, and how one allows camera and microphone in it.

/** `browser`: chrome, edge, firefox, safari, samsung or other. `system`: android, ios, mac, windows or other. */
export function recognise({ userAgent = '', maxTouchPoints = 0 }) {
  return { browser: browserOf(userAgent), system: systemOf(userAgent, maxTouchPoints) };
}

function systemOf(userAgent, maxTouchPoints) {
  // An iPad calls itself a Mac, but no Mac has a touch screen.
  if (/iPhone|iPad|iPod/.test(userAgent) || (/Macintosh/.test(userAgent) && maxTouchPoints > 1)) return 'ios';
  if (/Android/.test(userAgent)) return 'android';
  if (/Macintosh/.test(userAgent)) return 'mac';
  return /Windows/.test(userAgent) ? 'windows' : 'other';
}

/** Nearly every browser names Chrome and Safari as well, so the others come first. */
function browserOf(userAgent) {
  if (/SamsungBrowser\//.test(userAgent)) return 'samsung';
  if (/Edg(e|A|iOS)?\//.test(userAgent)) return 'edge';
  if (/(Firefox|FxiOS)\//.test(userAgent)) return 'firefox';
  // Browsers and apps that are built on one of these, with permissions elsewhere.
  if (/OPR\/|OPT\/|YaBrowser\/|DuckDuckGo\/|; wv\)|FBAN|FBAV|Instagram|GSA\//.test(userAgent)) return 'other';
  if (/(Chrome|CriOS)\//.test(userAgent)) return 'chrome';
  return /Version\/[\d.]+ .*Safari\//.test(userAgent) ? 'safari' : 'other';
}

/** The step's text in the catalogue, and its picture (help.js). */
const step = (key, picture) => ({ key, picture });

const SLIDERS = step('help.bar.sliders', 'sliders');
const LOCK = step('help.bar.lock', 'lock');
const PERMISSIONS = step('help.permissions', 'switches');
const BY_BROWSER = {
  chrome: [SLIDERS, step('help.switches', 'switches')],
  'chrome android': [SLIDERS, PERMISSIONS],
  edge: [LOCK, PERMISSIONS],
  samsung: [LOCK, PERMISSIONS],
  firefox: [step('help.bar.crossed', 'crossed'), step('help.unblock', 'unblock')],
  'firefox android': [LOCK, step('help.unblockTap', 'unblock')],
  'safari ios': [step('help.bar.page', 'page'), step('help.website', 'menu')],
  'safari mac': [step('help.menu.safari', 'menu'), step('help.allow', 'switches')],
  other: [LOCK, step('help.allow', 'switches')],
};

/** How to allow camera and microphone, step by step. `isSystem`: it is not the browser that refuses, but the device. */
export function steps({ browser, system }, { isSystem = false } = {}) {
  // On an iPhone, only Safari asks by itself; the other browsers are apps with a permission in the settings.
  const inSettings = isSystem || (system === 'ios' && browser !== 'safari');
  const own = inSettings
    ? [step(`help.settings.${system}`, 'gear'), step('help.settings.allow', 'switches')]
    : (BY_BROWSER[`${browser} ${system}`] ?? BY_BROWSER[browser] ?? BY_BROWSER.other);
  return [...own, step('help.again', 'again')];
}
