// The participants of the call, as the page shows them.

/** Why there is no sound, or no picture: there is no device, or the system has taken it. */
const WHY = new Set(['none', 'interrupted']);
const why = (value) => (WHY.has(value) ? value : '');

/** What a `mute-status` says of another participant. */
export function statusOf(data) {
  const { muted, camera_off: cameraOff, camera_beside: cameraBeside, screen, hand, microphone, camera } = data;
  return {
    muted: Boolean(muted),
    cameraOff: Boolean(cameraOff),
    cameraBeside: Boolean(cameraBeside),
    screen: Boolean(screen),
    microphone: why(microphone),
    camera: why(camera),
    hand: place(hand),
  };
}

/** The catalogue's key for why a participant is not heard; `null` if they are. */
export const silence = ({ muted, microphone }) => (microphone ? `call.microphone.${microphone}` : muted ? 'call.muted.short' : null);

/** The notes to show when a participant's devices come, go or are muted. */
export function devicesNotes(before, after) {
  const notes = [];
  if (after.microphone && after.microphone !== before.microphone) notes.push({ key: `call.microphone.${after.microphone}.name` });
  else if (silence(before) !== silence(after)) notes.push({ key: after.muted ? 'call.muted' : 'call.unmuted', quiet: before.microphone !== 'interrupted' });
  if (after.camera === 'interrupted' && before.camera !== 'interrupted') notes.push({ key: 'call.camera.interrupted.name' });
  if (before.camera === 'interrupted' && !after.cameraOff) notes.push({ key: 'call.camera.back.name' });
  return notes;
}

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
      microphone: muted ? (before.microphone ?? '') : '',
      camera: cameraOff ? (before.camera ?? '') : '',
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
