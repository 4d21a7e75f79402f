// The other participants in the call, as the page shows them.

const HAND_MAX = 1_000_000;

/** The place of a raised hand, whatever another page says. */
export const place = (hand) => (Number.isInteger(hand) && hand > 0 ? Math.min(hand, HAND_MAX) : 0);

/** Ourselves, as `connected` says. */
export const readSelf = ({ user_id: userId, name, role, permissions = [], publishes, resumed }) => ({
  userId,
  name,
  role,
  permissions,
  publishes: publishes ?? !permissions.includes('observer'),
  resumed: Boolean(resumed),
});

/** By user id. */
export class People extends Map {
  #returning = new Map();
  #onGone;

  /** `onGone` is called with the id of a participant who was away for too long. */
  constructor(onGone) {
    super();
    this.#onGone = onGone;
  }

  /** Adds a participant as the service lists them, or updates them. */
  add({ user_id: userId, name, role, muted, camera_off: cameraOff, screen, hand, publishes }) {
    this.#stopTimer(userId);
    const before = this.get(userId) ?? { state: 'connecting', stream: null, poor: false, quality: null, trouble: null };
    this.set(userId, {
      ...before,
      userId,
      name,
      role,
      muted: Boolean(muted),
      cameraOff: Boolean(cameraOff),
      screen: Boolean(screen ?? before.screen),
      hand: place(hand),
      publishes: publishes !== false,
    });
  }

  /** Returns false if there is no such participant. */
  update(userId, changes) {
    const person = this.get(userId);
    if (person) this.set(userId, { ...person, ...changes });
    return Boolean(person);
  }

  /** The participant may be back within that time. */
  expect(userId, withinMs) {
    this.#stopTimer(userId);
    this.#returning.set(userId, setTimeout(() => this.#onGone(userId), withinMs));
  }

  delete(userId) {
    this.#stopTimer(userId);
    return super.delete(userId);
  }

  stopTimers() {
    for (const userId of [...this.#returning.keys()]) this.#stopTimer(userId);
  }

  #stopTimer(userId) {
    clearTimeout(this.#returning.get(userId));
    this.#returning.delete(userId);
  }
}
