// One key for what is needed most in the call. Can be switched off, because speech input types letters, too (WCAG 2.1.4).

import { byId, el, face } from './dom.js';
import { announce } from './a11y.js';

const STORED = 'video-session:shortcuts';
/** The key, the button that it presses, and the catalogue's key of what it does. */
export const SHORTCUTS = [
  { key: 'm', button: 'mute', text: 'keys.mute' },
  { key: 'c', button: 'camera', text: 'keys.camera' },
  { key: 'p', button: 'people', text: 'keys.people' },
  { key: 'h', button: 'hand', text: 'keys.hand' },
  { key: '?', button: 'shortcuts', text: 'keys.help' },
];

const TYPES = /^(input|select|textarea)$/i;

/** The button that a key press means; `null` for none. `context`: whether shortcuts are on, and a dialog is open. */
export function buttonFor(event, { on, dialog }) {
  const { key, ctrlKey, altKey, metaKey, repeat, isComposing, defaultPrevented, target } = event;
  if (!on || dialog || ctrlKey || altKey || metaKey || repeat || isComposing || defaultPrevented) return null;
  if (target?.isContentEditable || TYPES.test(target?.tagName ?? '')) return null;
  return SHORTCUTS.find((shortcut) => shortcut.key === String(key).toLowerCase())?.button ?? null;
}

function recall() {
  try {
    return localStorage.getItem(STORED) !== 'off';
  } catch {
    return true;
  }
}

export class Shortcuts {
  #on = recall();
  #away = new AbortController();

  constructor({ texts, session }) {
    Object.assign(this, { texts, session });
    const { signal } = this.#away;
    document.addEventListener('keydown', (event) => this.#press(event), { signal });
    byId('shortcuts').addEventListener('click', () => this.#open(), { signal });
    byId('shortcuts-close').addEventListener('click', () => byId('shortcuts-dialog').close(), { signal });
    byId('shortcuts-on').addEventListener('change', ({ target }) => this.#set(target.checked), { signal });
    byId('shortcuts-on').checked = this.#on;
    const show = () => face(byId('shortcuts'), 'keys', texts.text('keys.button'));
    show();
    texts.addEventListener('change', show, { signal });
  }

  close() {
    this.#away.abort();
  }

  #press(event) {
    if (this.session.stage !== 'call') return;
    const id = buttonFor(event, { on: this.#on, dialog: Boolean(document.querySelector('dialog[open]')) });
    const button = id && byId(id);
    // Of what this participant may not do, nothing happens. What lies under the panel can be reached all the same.
    if (!button || button.hidden) return;
    event.preventDefault();
    button.click();
    // Said here because the focus is elsewhere. Muting says it by itself.
    if (id === 'camera') setTimeout(() => announce(this.texts.text(byId('camera').classList.contains('off') ? 'keys.cameraIsOff' : 'keys.cameraIsOn')), 300);
  }

  #open() {
    const rows = SHORTCUTS.filter(({ button }) => !byId(button).hidden).flatMap(({ key, text }) => [el('dt', {}, el('kbd', {}, key.toUpperCase())), el('dd', {}, this.texts.text(text))]);
    byId('shortcuts-list').replaceChildren(...rows);
    byId('shortcuts-dialog').showModal();
    byId('shortcuts-title').focus();
  }

  #set(on) {
    this.#on = on;
    try {
      localStorage.setItem(STORED, on ? 'on' : 'off');
    } catch {
      // For this call only.
    }
  }
}
