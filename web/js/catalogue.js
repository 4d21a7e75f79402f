// The page's words. One file a language; the browser's own languages choose.

const FALLBACK = 'en';
const RIGHT_TO_LEFT = new Set(['ar', 'fa', 'he', 'ur']);

async function read(assets, language) {
  try {
    const answer = await fetch(`${assets}/i18n/${language}.json`);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** The languages to try, best first, without regions: `es-MX` is served by `es`. */
export function wanted(languages) {
  const plain = languages.map((tag) => tag.toLowerCase().split('-')[0]).filter((tag) => /^[a-z]{2,3}$/.test(tag));
  return [...new Set([...plain, FALLBACK])];
}

/** The catalogue of the first language that there is one for, with English behind it for what it lacks. */
export async function load(assets, languages = navigator.languages ?? [navigator.language ?? FALLBACK]) {
  const fallback = read(assets, FALLBACK);
  for (const language of wanted(languages)) {
    const words = await (language === FALLBACK ? fallback : read(assets, language));
    if (words) return new Catalogue(language, { ...(await fallback), ...words });
  }
  return new Catalogue(FALLBACK, {});
}

export class Catalogue {
  constructor(language, words) {
    this.language = language;
    this.words = words;
  }

  has(key) {
    return Object.hasOwn(this.words, key);
  }

  /** The words of a key, with `{name}`s put in. */
  text(key, values = {}) {
    const words = this.has(key) ? this.words[key] : key;
    return words.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? String(values[name]) : whole));
  }

  role(role) {
    return this.text(this.has(`role.${role}`) ? `role.${role}` : 'role.other');
  }

  /** What to call a participant. */
  who({ name, role }) {
    return name || this.role(role);
  }

  /** Puts the words into everything that is marked for it. */
  apply(root = document) {
    document.documentElement.lang = this.language;
    document.documentElement.dir = RIGHT_TO_LEFT.has(this.language) ? 'rtl' : 'ltr';
    for (const element of root.querySelectorAll('[data-i18n]')) {
      if (this.has(element.dataset.i18n)) element.textContent = this.text(element.dataset.i18n);
    }
    for (const element of root.querySelectorAll('[data-i18n-label]')) {
      if (this.has(element.dataset.i18nLabel)) element.setAttribute('aria-label', this.text(element.dataset.i18nLabel));
    }
  }
}
