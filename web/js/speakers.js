// Who speaks, by the levels of their sound. Needs no browser.

/** About -34 dB: louder than a quiet room, softer than speech. */
const LEVEL_MIN = 0.02;
/** Speech has pauses; who is silent for longer has stopped. */
const PAUSE_MS = 900;
/** So long somebody must speak to get the stage: a cough or a “yes” does not move the pictures. */
const STAGE_MS = 1500;

export class Speakers {
  /** By user id: when they began, and when they were last heard. */
  #voices = new Map();
  /** Who spoke last for long enough. */
  current = null;

  /** Takes everybody's level now; returns who is speaking. */
  take(levels, nowMs) {
    for (const userId of this.#voices.keys()) if (!levels.has(userId)) this.#voices.delete(userId);
    for (const [userId, level] of levels) {
      const voice = this.#voices.get(userId);
      if (level >= LEVEL_MIN) this.#voices.set(userId, { since: voice?.since ?? nowMs, heard: nowMs });
      else if (voice && nowMs - voice.heard > PAUSE_MS) this.#voices.delete(userId);
    }
    // Whoever has the stage keeps it for as long as they speak.
    if (!this.#voices.has(this.current)) {
      const ready = [...this.#voices].filter(([, { since, heard }]) => heard - since >= STAGE_MS);
      const [first] = ready.sort(([, one], [, other]) => one.since - other.since);
      if (first) [this.current] = first;
    }
    return new Set(this.#voices.keys());
  }
}
