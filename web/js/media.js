// This participant's own camera, microphone and screen, and each way in which they can fail.

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
// Nothing is asked for that the browser could only give by cutting the picture: `resizeMode` keeps it to what the camera has.
const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 }, resizeMode: { ideal: 'none' } };
const DEVICE = { audio: 'microphone', video: 'camera' };

/** Why this browser cannot hold a call at all, or `null`. */
export function unfit() {
  if (!window.RTCPeerConnection || !window.WebSocket || !RTCPeerConnection.prototype.addTransceiver) return 'unsupported';
  return null;
}

/** Why this page cannot ask for a camera and a microphone at all, or `null`. */
function closed() {
  if (!window.isSecureContext) return 'insecure';
  if (!navigator.mediaDevices?.getUserMedia) return 'unsupported';
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  if (policy && !policy.allowsFeature('camera') && !policy.allowsFeature('microphone')) return 'blocked';
  return null;
}

/** The kind of a failure of getUserMedia, whose names differ between browsers and ages. */
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

/** getUserMedia, without the wishes if they cannot be met. */
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
    // Whoever refused both is not asked twice more.
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

/** One word for what is wrong, as the catalogue has it: `busy`, `missing-camera`… Possibly two, or none. */
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
  /** For `<video>`: always the same object, so that elements need not be told of new tracks. */
  preview = new MediaStream();
  #stopped = false;

  constructor() {
    super();
    navigator.mediaDevices?.addEventListener?.('devicechange', () => this.#tell('devices'));
  }

  get failures() {
    return failures(this.problems);
  }

  /** Asks for what is not there yet. */
  async acquire() {
    const reason = closed();
    if (reason) {
      this.problems = { audio: reason, video: reason };
      this.#tell('change');
      return;
    }
    const constraints = {};
    if (!this.audio) constraints.audio = this.#constraints('audio');
    if (!this.video && !this.cameraOff) constraints.video = this.#constraints('video');
    if (!Object.keys(constraints).length) return;
    this.asking = true;
    this.#tell('change');
    const { tracks, problems } = await openEach(constraints);
    this.asking = false;
    for (const [kind, track] of Object.entries(tracks)) this.#take(kind, track);
    this.problems = { ...this.problems, ...Object.fromEntries(Object.keys(constraints).map((kind) => [kind, problems[kind] ?? null])) };
    this.#tell('change');
    this.#tell('devices');
  }

  /** The track that the others are to get; `null` for silence or a black picture. */
  outgoing(kind) {
    return kind === 'audio' ? this.audio : this.screen ?? this.video;
  }

  /** What the others are told of it. */
  get status() {
    return { muted: this.muted || !this.audio, camera_off: !this.video && !this.screen, screen: Boolean(this.screen) };
  }

  async devices() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId);
    return { audio: of('audioinput'), video: of('videoinput'), speaker: of('audiooutput') };
  }

  /** Takes another camera or microphone. The old one is closed first: phones cannot have two open. */
  async choose(kind, deviceId) {
    this.chosen[kind] = deviceId;
    if (kind === 'speaker') return this.#tell('change');
    if (kind === 'video' && this.cameraOff) return;
    await this.#reopen(kind);
  }

  setMuted(muted) {
    this.muted = muted;
    if (this.audio) this.audio.enabled = !muted;
    this.#tell('change');
  }

  /** Camera off closes the camera, so that its light goes out. */
  async setCamera(on) {
    this.cameraOff = !on;
    if (on) return this.acquire();
    this.#take('video', null);
    this.#tell('change');
  }

  async flip() {
    this.facing = this.facing === 'user' ? 'environment' : 'user';
    this.chosen.video = '';
    await this.#reopen('video');
    // A device without a camera on that side: back to the one that works.
    if (!this.video) {
      this.facing = this.facing === 'user' ? 'environment' : 'user';
      await this.#reopen('video');
    }
  }

  static get canShare() {
    return Boolean(navigator.mediaDevices?.getDisplayMedia);
  }

  /** True if a screen is shown now; false if the person thought better of it. */
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
    this.#tell('change');
    return true;
  }

  stopShare() {
    this.screen?.stop();
    this.screen = null;
    this.#tell('change');
    return false;
  }

  /** Everything off, for good: lights out. */
  stop() {
    this.#stopped = true;
    for (const track of [this.audio, this.video, this.screen]) track?.stop();
    this.audio = this.video = this.screen = null;
    for (const track of this.preview.getTracks()) this.preview.removeTrack(track);
    this.#tell('change');
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
    // Only `ended` that we did not cause is fired: the device was unplugged, or the permission taken back.
    track.addEventListener('ended', () => this.#lost(kind, track));
  }

  async #lost(kind, track) {
    if (this[kind] !== track) return;
    this.chosen[kind] = '';
    await this.#reopen(kind);
    if (!this[kind]) this.dispatchEvent(new CustomEvent('unplugged', { detail: DEVICE[kind] }));
  }

  #tell(event) {
    this.dispatchEvent(new Event(event));
  }
}
