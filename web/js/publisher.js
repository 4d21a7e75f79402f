// This participant's own tracks on a LiveKit server: at most one microphone, and one picture, which is the camera or the screen.

const RETRY_MS = 3000;
const AUDIO = { source: 'microphone', dtx: true, red: true, audioPreset: { maxBitrate: 32_000 } };
// In several sizes, of which the server sends each participant the one that they have room for.
const CAMERA = { source: 'camera', simulcast: true };
// Sharp letters matter more than fluent motion.
const SCREEN = { source: 'screen_share', simulcast: false, videoEncoding: { maxBitrate: 2_500_000, maxFramerate: 15 } };

/** media.js marks the screen's track so. */
const optionsFor = (kind, track) => (kind === 'audio' ? AUDIO : track.contentHint === 'detail' ? SCREEN : CAMERA);

export class Publisher {
  #participant = null;
  #wanted = { audio: null, video: null };
  #chain = Promise.resolve();
  #timers = {};

  /** Publishes to that room from now on; to none, if `null`. Resolves once everything is published. */
  use(room) {
    this.#participant = room?.localParticipant ?? null;
    // What hangs in the former room must not hold up this one.
    this.#chain = Promise.resolve();
    return this.#participant ? Promise.all([this.#settle('audio'), this.#settle('video')]) : Promise.resolve();
  }

  set(kind, track) {
    // Whether the participant is muted: the client must not decide that.
    this.#wanted[kind] = track && { track, enabled: track.enabled };
    return this.#settle(kind);
  }

  /** One after the other. What fails is tried again. */
  #settle(kind) {
    const participant = this.#participant;
    clearTimeout(this.#timers[kind]);
    const step = async () => {
      if (!participant || participant !== this.#participant) return;
      await this.#publish(participant, kind).catch(() => {
        clearTimeout(this.#timers[kind]);
        this.#timers[kind] = setTimeout(() => this.#settle(kind), RETRY_MS);
      });
      const wanted = this.#wanted[kind];
      if (wanted && wanted.track.enabled !== wanted.enabled) wanted.track.enabled = wanted.enabled;
    };
    this.#chain = this.#chain.then(step);
    return this.#chain;
  }

  async #publish(participant, kind) {
    const wanted = this.#wanted[kind];
    const options = wanted && optionsFor(kind, wanted.track);
    const published = [...participant.trackPublications.values()].filter((publication) => publication.kind === kind && publication.track);
    for (const { source, track } of published) {
      // A camera that is off, or a missing microphone, soon comes back: keep its place.
      if (!wanted && source !== 'screen_share') await track.mute();
      else if (source !== options?.source) await participant.unpublishTrack(track, false);
    }
    if (!wanted) return;
    const local = published.find(({ source }) => source === options.source)?.track;
    if (!local) await participant.publishTrack(wanted.track, options);
    else if (local.mediaStreamTrack !== wanted.track) {
      // The client turns a track on if it is not muted.
      if (!wanted.enabled) await local.mute();
      await local.replaceTrack(wanted.track, true);
    }
    const now = local ?? participant.getTrackPublication(options.source)?.track;
    if (wanted !== this.#wanted[kind] || !now) return;
    if (!wanted.enabled) await now.mute();
    else if (now.isMuted) await now.unmute();
  }
}
