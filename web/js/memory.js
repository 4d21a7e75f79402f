// What a page reloaded during a call needs to continue by itself. Kept in the tab for a minute; holds no secret and nothing
// about the person.

const FRESH_MS = 60_000;

export class Memory {
  constructor(slot) {
    this.key = `video-session:${slot}`;
  }

  save(state) {
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ ...state, at: Date.now() }));
    } catch {
      // The browser stores nothing, so the page starts from the beginning.
    }
  }

  forget() {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // As above.
    }
  }

  /** The stored state, if it is fresh. It stays stored, in case the page is reloaded twice. */
  recall() {
    try {
      const state = JSON.parse(sessionStorage.getItem(this.key));
      return state && Date.now() - state.at < FRESH_MS ? state : null;
    } catch {
      return null;
    }
  }
}
