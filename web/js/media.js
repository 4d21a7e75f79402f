// This participant's own camera, microphone and screen, and each way in which they can fail.

import { classify, failures, findObstacle, openEach } from './capture.js';
import { DEVICE, find, recall, remember } from './devices.js';

const AUDIO = { echoCancellation: true, noiseSuppression: true, autoGainControl: true };
// `resizeMode` keeps to the camera's own formats, so that the browser does not crop the video.
const VIDEO = { width: { ideal: 1280 }, height: { ideal: 720 }, frameRate: { ideal: 30, max: 30 }, resizeMode: { ideal: 'none' } };
// Browsers mute a track for a moment when it starts or another program begins. A phone call lasts longer.
const INTERRUPTED_MS = 1000;

/** Why this browser cannot hold a call at all, or `null`. */
export function unfit() {
  if (!window.RTCPeerConnection || !window.WebSocket || !RTCPeerConnection.prototype.addTransceiver) return 'unsupported';
  return null;
}

/**
 * Events: `change` whenever a track, mute or camera changed; `unplugged` with the kind of device that is gone and has no other in its
 * place; `switched` with `{device, label, cause}` when another one is used now (`unplugged`, `back`, `found`); `interrupted` with
 * `{device, on}` when the system takes a device away, for a phone call for example, and when it gives it back; `speaker`; `devices`
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
  /** The speaker to play with: the chosen one, if it is there. */
  speaker = '';
  interrupted = { audio: false, video: false };
  asking = false;
  /** For `<video>`: always the same object, so that elements need no update for new tracks. */
  preview = new MediaStream();
  #stopped = false;
  #labels = {};
  #following = Promise.resolve();

  constructor() {
    super();
    for (const [kind, { id, label }] of Object.entries(recall())) [this.chosen[kind], this.#labels[kind]] = [id, label];
    navigator.mediaDevices?.addEventListener?.('devicechange', () => {
      this.#emit('devices');
      this.#follow({ tell: true });
    });
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
    const kinds = [!this.audio && 'audio', !this.video && !this.cameraOff && 'video'].filter(Boolean);
    if (!kinds.length) return;
    this.asking = true;
    this.#emit('change');
    const devices = await this.devices();
    const constraints = Object.fromEntries(kinds.map((kind) => [kind, this.#constraints(kind, devices[kind])]));
    const { tracks, problems } = await openEach(constraints);
    this.asking = false;
    for (const [kind, track] of Object.entries(tracks)) this.#take(kind, track);
    this.problems = { ...this.problems, ...Object.fromEntries(Object.keys(constraints).map((kind) => [kind, problems[kind] ?? null])) };
    this.#emit('change');
    this.#emit('devices');
    this.#follow();
  }

  /** The track to send; `null` for silence or black video. `beside` is the camera while a screen is shown. */
  outgoing(kind) {
    if (kind === 'beside') return this.screen && this.video;
    return kind === 'audio' ? this.audio : this.screen ?? this.video;
  }

  /** The data of a `mute-status`. */
  get status() {
    const why = (kind) => (!this[kind] && this.problems[kind] ? 'none' : this.interrupted[kind] ? 'interrupted' : undefined);
    const camera = this.screen ? undefined : why('video');
    return {
      muted: this.muted || !this.audio || this.interrupted.audio,
      camera_off: !this.screen && (!this.video || this.interrupted.video),
      screen: Boolean(this.screen),
      microphone: why('audio'),
      camera,
      camera_beside: Boolean(this.screen && this.video && !this.interrupted.video),
    };
  }

  async devices() {
    const all = (await navigator.mediaDevices?.enumerateDevices?.().catch(() => [])) ?? [];
    const of = (kind) => all.filter((device) => device.kind === kind && device.deviceId);
    return { audio: of('audioinput'), video: of('videoinput'), speaker: of('audiooutput') };
  }

  /** Switches the camera or microphone. Closes the old one first: phones cannot have two open. */
  async choose(kind, deviceId) {
    this.chosen[kind] = deviceId;
    await this.#rememberChoice(kind);
    if (kind === 'speaker') return this.#useSpeaker((await this.devices()).speaker);
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

  #constraints(kind, devices) {
    // Until the browser allows one, it does not say which devices there are.
    const isKnown = devices.length > 0;
    const device = isKnown ? this.#find(kind, devices)?.deviceId : this.chosen[kind];
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
    this.interrupted[kind] = false;
    if (!track) return;
    // Nobody hears themselves, and WebKitGTK crashes when a muted microphone is closed that a video plays.
    if (kind === 'video') this.preview.addTrack(track);
    if (kind === 'audio') track.enabled = !this.muted;
    for (const event of ['mute', 'unmute']) track.addEventListener(event, () => this.#watchInterruption(kind, track));
    // `ended` fires only if we did not cause it: the device was unplugged or the permission revoked.
    track.addEventListener('ended', () => this.#lost(kind, track));
  }

  async #lost(kind, track) {
    if (this[kind] !== track) return;
    // Comes back to this one when it is plugged in again.
    if (!this.chosen[kind]) [this.chosen[kind], this.#labels[kind]] = [track.getSettings().deviceId ?? '', track.label];
    await this.#reopen(kind);
    if (!this[kind]) this.dispatchEvent(new CustomEvent('unplugged', { detail: DEVICE[kind] }));
    else this.#tellSwitched(kind, 'unplugged');
  }

  #watchInterruption(kind, track) {
    const settle = () => {
      if (this[kind] !== track || this.interrupted[kind] === track.muted) return;
      this.interrupted[kind] = track.muted;
      this.#emit('change');
      this.dispatchEvent(new CustomEvent('interrupted', { detail: { device: DEVICE[kind], on: track.muted } }));
    };
    if (track.muted) setTimeout(settle, INTERRUPTED_MS);
    else settle();
  }

  // --- devices that come and go -------------------------------------------------------------------------------------

  #find(kind, devices) {
    return find(devices, { id: this.chosen[kind], label: this.#labels[kind] });
  }

  async #rememberChoice(kind) {
    this.#labels[kind] = this.#find(kind, (await this.devices())[kind])?.label ?? '';
    remember(Object.fromEntries(Object.entries(this.chosen).map(([one, id]) => [one, { id, label: this.#labels[one] ?? '' }])));
  }

  /** After devices came or went: one step after the other, as browsers tell of one device several times. */
  #follow({ tell = false } = {}) {
    this.#following = this.#following.then(() => this.#goBack(tell)).catch(() => {});
  }

  /** Uses the chosen devices again if they are there. */
  async #goBack(tell) {
    const devices = await this.devices();
    for (const kind of ['audio', 'video']) {
      if (this.#stopped || this.asking || (kind === 'video' && this.cameraOff)) continue;
      const chosen = this.#find(kind, devices[kind]);
      const current = this[kind]?.getSettings().deviceId;
      if (!this[kind] && this.problems[kind] === 'missing' && devices[kind].length && tell) {
        await this.acquire();
        if (this[kind]) this.#tellSwitched(kind, 'found');
      } else if (current && chosen && current !== chosen.deviceId) {
        // The present one is closed only after this one works.
        const stream = await navigator.mediaDevices.getUserMedia({ [kind]: this.#constraints(kind, devices[kind]) }).catch(() => null);
        if (!stream) continue;
        this.#take(kind, stream.getTracks()[0]);
        this.#emit('change');
        this.#emit('devices');
        if (tell) this.#tellSwitched(kind, 'back');
      }
    }
    this.#useSpeaker(devices.speaker, tell);
  }

  #useSpeaker(speakers, tell) {
    const deviceId = this.#find('speaker', speakers)?.deviceId ?? '';
    if (deviceId === this.speaker) return;
    this.speaker = deviceId;
    this.#emit('speaker');
    if (tell) this.dispatchEvent(new CustomEvent('switched', { detail: { device: 'speaker', label: '', cause: deviceId ? 'back' : 'unplugged' } }));
  }

  #tellSwitched(kind, cause) {
    this.dispatchEvent(new CustomEvent('switched', { detail: { device: DEVICE[kind], label: this[kind].label, cause } }));
  }

  #emit(event) {
    this.dispatchEvent(new Event(event));
  }
}
