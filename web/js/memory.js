// What a page needs to go into the call without asking: one that was reloaded during it, or that a doctor's list opens. Kept in the
// tab for a minute; holds no secret and nothing about the person.

const FRESH_MS = 60_000;

export class Memory {
  /** `tab` is the window whose page needs it: this one, or one that this page has opened. */
  constructor(slot, tab = window) {
    this.key = `video-session:${slot}`;
    this.tab = tab;
  }

  save(state) {
    try {
      this.tab.sessionStorage.setItem(this.key, JSON.stringify({ ...state, at: Date.now() }));
    } catch {
      // The browser stores nothing, so the page starts from the beginning.
    }
  }

  forget() {
    try {
      this.tab.sessionStorage.removeItem(this.key);
    } catch {
      // As above.
    }
  }

  /** The stored state, if it is fresh. It stays stored, in case the page is reloaded twice. */
  recall() {
    try {
      const state = JSON.parse(this.tab.sessionStorage.getItem(this.key));
      return state && Date.now() - state.at < FRESH_MS ? state : null;
    } catch {
      return null;
    }
  }
}
