// This participant's own camera, microphone and screen, and each way in which they can fail.

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
// `resizeMode` keeps to the camera's own formats, so that the browser does not crop the video.
const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 }, resizeMode: { ideal: 'none' } };
const DEVICE = { audio: 'microphone', video: 'camera' };

/** Why this browser cannot hold a call at all, or `null`. */
export function unfit() {
  if (!window.RTCPeerConnection || !window.WebSocket || !RTCPeerConnection.prototype.addTransceiver) return 'unsupported';
  return null;
}

/** Why this page cannot ask for a camera and a microphone at all, or `null`. */
function findObstacle() {
  if (!window.isSecureContext) return 'insecure';
  if (!navigator.mediaDevices?.getUserMedia) return 'unsupported';
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  if (policy && !policy.allowsFeature('camera') && !policy.allowsFeature('microphone')) return 'blocked';
  return null;
}

/** The kind of a getUserMedia failure; its names differ between browsers and versions. */
function classify(error) {
  switch (error?.name) {
    case 'NotAllowedError':
    case 'PermissionDeniedError':
    case 'SecurityError':
      return /system/i.test(error.message) ? 'refused-system' : 'refused';
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return 'missing';
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return 'busy';
    case 'OverconstrainedError':
    case 'ConstraintNotSatisfiedError':
      return 'overconstrained';
    default:
      return 'failed';
  }
}

async function permission(kind) {
  try {
    return (await navigator.permissions.query({ name: DEVICE[kind] })).state;
  } catch {
    return 'unknown';
  }
}

/** Calls getUserMedia, without the constraints if they cannot be met. */
async function open(constraints) {
  try {
    return await navigator.mediaDevices.getUserMedia(constraints);
  } catch (error) {
    if (classify(error) !== 'overconstrained') throw error;
    const plain = Object.fromEntries(Object.keys(constraints).map((kind) => [kind, true]));
    return navigator.mediaDevices.getUserMedia(plain);
  }
}

/**
 * Opens camera and microphone together, so that the browser asks once; if that fails, each by itself, so that one that
 * works is not lost to one that does not. Returns the tracks, and what is wrong with each kind.
 */
async function openEach(constraints) {
  const kinds = Object.keys(constraints);
  const got = { tracks: {}, problems: {} };
  const keep = (stream) => {
    for (const track of stream.getTracks()) got.tracks[track.kind] = track;
  };
  try {
    keep(await open(constraints));
    return got;
  } catch (error) {
    const what = classify(error);
    for (const kind of kinds) got.problems[kind] = what;
    if (kinds.length === 1) return got;
    // The user denied both; do not ask for each one again.
    if (what.startsWith('refused')) {
      const states = await Promise.all(kinds.map(permission));
      if (states[0] === states[1]) return got;
    }
  }
  for (const kind of kinds) {
    try {
      keep(await open({ [kind]: constraints[kind] }));
      got.problems[kind] = null;
    } catch (error) {
      got.problems[kind] = classify(error);
    }
  }
  return got;
}

/** The catalogue's keys for the failures: `busy`, `missing-camera`… There may be two, or none. */
function failures(problems) {
  const { audio, video } = problems;
  if (audio && audio === video) return [audio];
  const named = (kind, what) => (['insecure', 'unsupported', 'blocked', 'refused-system'].includes(what) ? what : `${what}-${DEVICE[kind]}`);
  return [video && named('video', video), audio && named('audio', audio)].filter(Boolean);
}

/**
 * Events: `change` whenever a track, mute or camera changed; `unplugged` with the kind of device that is gone; `devices`
 * when there are others to choose from.
 */
export class LocalMedia extends EventTarget {
  audio = null;
  video = null;
  screen = null;
  muted = false;
  cameraOff = false;
  facing = 'user';
  problems = { audio: null, video: null };
  chosen = { audio: '', video: '', speaker: '' };
  asking = false;
  /** For `<video>`: always the same object, so that elements need no update for new tracks. */
  preview = new MediaStream();
  #stopped = false;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener?.('devicechange', () => this.#emit('devices'));
  }

  get failures() {
    return failures(this.problems);
  }

  /** Requests the missing devices. */
  async acquire() {
    const reason = findObstacle();
    if (reason) {
      this.problems = { audio: reason, video: reason };
      this.#emit('change');
      return;
    }
    const constraints = {};
    if (!this.audio) constraints.audio = this.#constraints('audio');
    if (!this.video && !this.cameraOff) constraints.video = this.#constraints('video');
    if (!Object.keys(constraints).length) return;
    this.asking = true;
    this.#emit('change');
    const { tracks, problems } = await openEach(constraints);
    this.asking = false;
    for (const [kind, track] of Object.entries(tracks)) this.#take(kind, track);
    this.problems = { ...this.problems, ...Object.fromEntries(Object.keys(constraints).map((kind) => [kind, problems[kind] ?? null])) };
    this.#emit('change');
    this.#emit('devices');
  }

  /** The track to send; `null` for silence or black video. `beside` is the camera while a screen is shown. */
  outgoing(kind) {
    if (kind === 'beside') return this.screen && this.video;
    return kind === 'audio' ? this.audio : this.screen ?? this.video;
  }

  /** The data of a `mute-status`. */
  get status() {
    return { muted: this.muted || !this.audio, camera_off: !this.video && !this.screen, screen: Boolean(this.screen), camera_beside: Boolean(this.screen && this.video) };
  }

  async devices() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId);
    return { audio: of('audioinput'), video: of('videoinput'), speaker: of('audiooutput') };
  }

  /** Switches the camera or microphone. Closes the old one first: phones cannot have two open. */
  async choose(kind, deviceId) {
    this.chosen[kind] = deviceId;
    if (kind === 'speaker') return this.#emit('change');
    if (kind === 'video' && this.cameraOff) return;
    await this.#reopen(kind);
  }

  setMuted(muted) {
    this.muted = muted;
    if (this.audio) this.audio.enabled = !muted;
    this.#emit('change');
  }

  /** Turning the camera off closes it, so that its light goes out. */
  async setCamera(on) {
    this.cameraOff = !on;
    if (on) return this.acquire();
    this.#take('video', null);
    this.#emit('change');
  }

  async flip() {
    this.facing = this.facing === 'user' ? 'environment' : 'user';
    this.chosen.video = '';
    await this.#reopen('video');
    // There is no camera on that side: go back to the working one.
    if (!this.video) {
      this.facing = this.facing === 'user' ? 'environment' : 'user';
      await this.#reopen('video');
    }
  }

  static get canShare() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /** Returns true if a screen is now shared; false if the user cancelled. */
  async share() {
    let stream;
    try {
      stream = await navigator.mediaDevices.getDisplayMedia({ video: { frameRate: { max: 15 } }, audio: false });
    } catch (error) {
      if (classify(error) === 'refused') return false;
      throw error;
    }
    [this.screen] = stream.getVideoTracks();
    if (this.#stopped) return this.stopShare();
    this.screen.contentHint = 'detail';
    this.screen.addEventListener('ended', () => this.stopShare());
    this.#emit('change');
    return true;
  }

  stopShare() {
    this.screen?.stop();
    this.screen = null;
    this.#emit('change');
    return false;
  }

  /** Stops all devices for good. */
  stop() {
    this.#stopped = true;
    for (const track of [this.audio, this.video, this.screen]) track?.stop();
    this.audio = this.video = this.screen = null;
    for (const track of this.preview.getTracks()) this.preview.removeTrack(track);
    this.#emit('change');
  }

  #constraints(kind) {
    const device = this.chosen[kind];
    const which = device ? { deviceId: { exact: device } } : kind === 'video' ? { facingMode: this.facing } : {};
    return { ...(kind === 'video' ? VIDEO : AUDIO), ...which };
  }

  async #reopen(kind) {
    this.#take(kind, null);
    await this.acquire();
  }

  #take(kind, track) {
    const old = this[kind];
    if (old) {
      old.stop();
      this.preview.removeTrack(old);
    }
    if (track && this.#stopped) {
      track.stop();
      track = null;
    }
    this[kind] = track;
    if (!track) return;
    this.preview.addTrack(track);
    if (kind === 'audio') track.enabled = !this.muted;
    // `ended` fires only if we did not cause it: the device was unplugged or the permission revoked.
    track.addEventListener('ended', () => this.#lost(kind, track));
  }

  async #lost(kind, track) {
    if (this[kind] !== track) return;
    this.chosen[kind] = '';
    await this.#reopen(kind);
    if (!this[kind]) this.dispatchEvent(new CustomEvent('unplugged', { detail: DEVICE[kind] }));
  }

  #emit(event) {
    this.dispatchEvent(new Event(event));
  }
}
