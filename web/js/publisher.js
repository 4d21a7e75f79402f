// This participant's own tracks on a LiveKit server: at most one microphone, one screen and one camera, each at its own source.

const RETRY_MS = 3000;
const OPTIONS = {
  microphone: { source: 'microphone', dtx: true, red: true, audioPreset: { maxBitrate: 32_000 } },
  // Sharp letters matter more than fluent motion.
  screen_share: { source: 'screen_share', simulcast: false, videoEncoding: { maxBitrate: 2_500_000, maxFramerate: 15 } },
  // In several sizes, of which the server sends each participant the one that they have room for.
  camera: { source: 'camera', simulcast: true },
};
/** What each of media.js's tracks may change. The screen goes first: others shall not take the camera for it. */
const SOURCES = { audio: ['microphone'], video: ['screen_share', 'camera'], beside: ['camera'] };

/** media.js marks the screen's track so. */
const isScreen = (given) => given?.track.contentHint === 'detail';

export class Publisher {
  #participant = null;
  #given = { audio: null, video: null, beside: null };
  #chain = Promise.resolve();
  #timers = {};

  /** Publishes to that room from now on; to none, if `null`. Resolves once everything is published. */
  use(room) {
    this.#participant = room?.localParticipant ?? null;
    // What hangs in the former room must not hold up this one.
    this.#chain = Promise.resolve();
    return this.#participant ? Promise.all(Object.keys(OPTIONS).map((source) => this.#settle(source))) : Promise.resolve();
  }

  /** `beside` is the camera while `video` is the screen. */
  set(kind, track) {
    // Whether the participant is muted: the client must not decide that.
    this.#given[kind] = track && { track, enabled: track.enabled };
    return Promise.all(SOURCES[kind].map((source) => this.#settle(source)));
  }

  #wanted(source) {
    const { audio, video, beside } = this.#given;
    if (source === 'microphone') return audio;
    if (source === 'screen_share') return isScreen(video) ? video : null;
    return isScreen(video) ? beside : video;
  }

  /** One after the other. What fails is tried again. */
  #settle(source) {
    const participant = this.#participant;
    clearTimeout(this.#timers[source]);
    const step = async () => {
      if (!participant || participant !== this.#participant) return;
      await this.#publish(participant, source).catch(() => {
        clearTimeout(this.#timers[source]);
        this.#timers[source] = setTimeout(() => this.#settle(source), RETRY_MS);
      });
      const wanted = this.#wanted(source);
      if (wanted && wanted.track.enabled !== wanted.enabled) wanted.track.enabled = wanted.enabled;
    };
    this.#chain = this.#chain.then(step);
    return this.#chain;
  }

  async #publish(participant, source) {
    const wanted = this.#wanted(source);
    const local = participant.getTrackPublication(source)?.track;
    if (!wanted) {
      // A camera that is off, or a missing microphone, soon comes back: keep its place.
      if (local && source !== 'screen_share') await local.mute();
      else if (local) await participant.unpublishTrack(local, false);
      return;
    }
    if (!local) await participant.publishTrack(wanted.track, OPTIONS[source]);
    else if (local.mediaStreamTrack !== wanted.track) {
      // The client turns a track on if it is not muted.
      if (!wanted.enabled) await local.mute();
      await local.replaceTrack(wanted.track, true);
    }
    const now = local ?? participant.getTrackPublication(source)?.track;
    if (wanted !== this.#wanted(source) || !now) return;
    if (!wanted.enabled) await now.mute();
    else if (now.isMuted) await now.unmute();
  }
}
