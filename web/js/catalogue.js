// The page's texts, one file per language.

const FALLBACK = 'en';
// Right-to-left letters, and direction marks.
const TURNS = /[\u0590-\u08ff\u200e\u200f\u202a-\u202e\u2066-\u2069\ufb1d-\ufdff\ufe70-\ufefc]/;
const RIGHT_TO_LEFT = new Set(['ar', 'fa', 'he', 'ur']);

/** Isolates a value, so that its text direction does not reorder the sentence. */
const isolated = (text) => `\u2068${text}\u2069`;

/** Only its own keys: `Object.hasOwn` is missing in browsers that the page works in. */
const bare = (texts) => Object.assign(Object.create(null), texts);

async function read(assets, language) {
  try {
    const answer = await fetch(`${assets}/i18n/${language}.json`);
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** The texts of the page's language, chosen by the service. Each language has them all; if its file cannot be had, English may. */
export async function load(assets) {
  const language = document.documentElement.lang;
  return new Catalogue(language, (await read(assets, language)) ?? (await read(assets, FALLBACK)) ?? {});
}

/** Dispatches `change` when the language has changed. */
export class Catalogue extends EventTarget {
  constructor(language, texts) {
    super();
    this.language = language;
    this.texts = bare(texts);
  }

  /** Changes to another language; false if there is none of that name. */
  async change(assets, language) {
    const texts = /^[a-z]{2,3}$/.test(language) ? await read(assets, language) : null;
    if (!texts) return false;
    document.documentElement.lang = language;
    Object.assign(this, { language, texts: bare({ ...this.texts, ...texts }) });
    this.apply();
    this.dispatchEvent(new Event('change'));
    return true;
  }

  has(key) {
    return key in this.texts;
  }

  /** The text of a key, with its `{placeholders}` filled in. */
  text(key, values = {}) {
    const text = this.has(key) ? this.texts[key] : key;
    const turns = RIGHT_TO_LEFT.has(this.language);
    const fill = (value) => (turns || TURNS.test(value) ? isolated(value) : value);
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? fill(String(values[name])) : whole));
  }

  /** The key of what somebody in a role is told: their own text, if there is one. */
  keyFor(role, key) {
    return this.has(`${key}.${role}`) ? `${key}.${role}` : key;
  }

  role(role) {
    return this.text(this.has(`role.${role}`) ? `role.${role}` : 'role.other');
  }

  /** The name shown for a participant. */
  who({ name, role }) {
    return name || this.role(role);
  }

  /** Fills in the texts of all marked elements. */
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
