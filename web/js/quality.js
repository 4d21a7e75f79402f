// Rates a connection from the browser's statistics.

const LOSS_MAX = 0.06;
const ROUND_TRIP_MAX_SECS = 0.6;
// A single bad or good sample does not change the rating.
const MOMENTS = 2;

/** The statistics of one sample, summed over audio and video. */
function count(report) {
  const sum = { received: 0, lost: 0, remoteLoss: 0, roundTrip: 0 };
  for (const entry of report.values()) {
    if (entry.type === 'inbound-rtp') {
      sum.received += entry.packetsReceived ?? 0;
      sum.lost += Math.max(0, entry.packetsLost ?? 0);
    } else if (entry.type === 'remote-inbound-rtp') {
      sum.remoteLoss = Math.max(sum.remoteLoss, entry.fractionLost ?? 0);
    } else if (entry.type === 'candidate-pair' && entry.nominated && entry.state === 'succeeded') {
      sum.roundTrip = Math.max(sum.roundTrip, entry.currentRoundTripTime ?? 0);
    }
  }
  return sum;
}

export class Quality {
  #before = null;
  #streak = 0;
  poor = false;

  /** Adds a sample; returns true if the rating changed. */
  take(report) {
    const now = count(report);
    const before = this.#before ?? now;
    this.#before = now;
    const lost = Math.max(0, now.lost - before.lost);
    const all = lost + Math.max(0, now.received - before.received);
    const bad = (all > 0 && lost / all > LOSS_MAX) || now.remoteLoss > LOSS_MAX || now.roundTrip > ROUND_TRIP_MAX_SECS;
    this.#streak = bad === this.poor ? 0 : this.#streak + 1;
    if (this.#streak < MOMENTS) return false;
    this.#streak = 0;
    this.poor = bad;
    return true;
  }
}
