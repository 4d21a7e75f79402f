// The page's words. One file a language.

const FALLBACK = 'en';
// Letters that run from right to left, and the characters that say so of others.
const TURNS = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]/;
const RIGHT_TO_LEFT = new Set(['ar', 'fa', 'he', 'ur']);

/** A name in another direction than the sentence must not turn the sentence around. */
const isolated = (text) => (TURNS.test(text) ? `\u2068${text}\u2069` : text);

async function read(assets, language) {
  try {
    const answer = await fetch(`${assets}/i18n/${language}.json`);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** The catalogue of the page's language, which the service chose, with English behind it for what it lacks. */
export async function load(assets) {
  const language = document.documentElement.lang;
  const [fallback, words] = await Promise.all([read(assets, FALLBACK), language === FALLBACK ? null : read(assets, language)]);
  return new Catalogue(language, { ...fallback, ...words });
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
    return words.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? isolated(String(values[name])) : whole));
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
    document.documentElement.dir = RIGHT_TO_LEFT.has(this.language) ? 'rtl' : 'ltr';
    for (const element of root.querySelectorAll('[data-i18n]')) {
      if (this.has(element.dataset.i18n)) element.textContent = this.text(element.dataset.i18n);
    }
    for (const element of root.querySelectorAll('[data-i18n-label]')) {
      if (this.has(element.dataset.i18nLabel)) element.setAttribute('aria-label', this.text(element.dataset.i18nLabel));
    }
  }
}
