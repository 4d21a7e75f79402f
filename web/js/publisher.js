// This participant's own tracks on a LiveKit server: at most one microphone, one camera and one screen.

const RETRY_MS = 3000;
const AUDIO = { source: 'microphone', dtx: true, red: true, audioPreset: { maxBitrate: 32_000 } };
// In several sizes, of which the server sends each participant the one that they have room for.
const CAMERA = { source: 'camera', simulcast: true };
// Sharp letters matter more than fluent motion.
const SCREEN = { source: 'screen_share', simulcast: false, videoEncoding: { maxBitrate: 2_500_000, maxFramerate: 15 } };

const OPTIONS = { audio: AUDIO, camera: CAMERA, screen: SCREEN };

export class Publisher {
  #participant = null;
  #wanted = { audio: null, camera: null, screen: null };
  #chain = Promise.resolve();
  #timers = {};

  /** Publishes to that room from now on; to none, if `null`. Resolves once everything is published. */
  use(room) {
    this.#participant = room?.localParticipant ?? null;
    // What hangs in the former room must not hold up this one.
    this.#chain = Promise.resolve();
    return this.#participant ? Promise.all(Object.keys(OPTIONS).map((kind) => this.#settle(kind))) : Promise.resolve();
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
    const options = OPTIONS[kind];
    const local = participant.getTrackPublication(options.source)?.track;
    if (!wanted) {
      // A camera that is off, or a missing microphone, soon comes back: keep its place.
      if (kind === 'screen') await (local && participant.unpublishTrack(local, false));
      else await local?.mute();
      return;
    }
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
