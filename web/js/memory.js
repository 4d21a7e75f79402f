// What a page that is loaded again in the middle of a call needs to go on by itself. Kept in the tab, for a minute; no
// secret, nothing about the person.

const FRESH_MS = 60_000;

export class Memory {
  constructor(slot) {
    this.key = `video-session:${slot}`;
  }

  keep(state) {
    try {
      sessionStorage.setItem(this.key, JSON.stringify({ ...state, at: Date.now() }));
    } catch {
      // A browser that keeps nothing: then the page starts at its beginning.
    }
  }

  forget() {
    try {
      sessionStorage.removeItem(this.key);
    } catch {
      // As above.
    }
  }

  /** What was kept, if it is fresh. It stays, for a page that is loaded twice in a row. */
  recall() {
    try {
      const state = JSON.parse(sessionStorage.getItem(this.key));
      return state && Date.now() - state.at < FRESH_MS ? state : null;
    } catch {
      return null;
    }
  }
}
