// Rates a connection from the browser's statistics: good, weak or bad, and why.

/** For each reason, the least that makes a connection weak, and bad. */
const LOSS = [0.06, 0.2];
const ROUND_TRIP_SECS = [0.6, 1.5];
/** What the sender's way has room for, if the picture is made smaller because of it. At most so much. */
const ROOM_BITS_PER_SEC = [200_000, 50_000];
// A few bad or good samples do not change the rating.
const MOMENTS = 3;

// While a check of the connection is under way, its pair of candidates is `in-progress`.
const PAIR_STATES = ['succeeded', 'in-progress'];

export const GOOD = { level: 'good', reason: '' };

/** The statistics of one sample, summed over audio and video. */
export function count(report) {
  const sum = { received: 0, lost: 0, remoteLoss: 0, roundTrip: 0, frames: 0, room: Infinity };
  let limited = false;
  let room = Infinity;
  for (const entry of report.values()) {
    if (entry.type === 'inbound-rtp') {
      sum.received += entry.packetsReceived ?? 0;
      sum.lost += Math.max(0, entry.packetsLost ?? 0);
      // Firefox counts no frames of the element that shows them.
      if (entry.kind === 'video') sum.frames += entry.framesDecoded ?? 0;
    } else if (entry.type === 'remote-inbound-rtp') {
      sum.remoteLoss = Math.max(sum.remoteLoss, entry.fractionLost ?? 0);
    } else if (entry.type === 'outbound-rtp') {
      limited ||= entry.qualityLimitationReason === 'bandwidth';
    } else if (entry.type === 'candidate-pair' && entry.nominated && PAIR_STATES.includes(entry.state)) {
      sum.roundTrip = Math.max(sum.roundTrip, entry.currentRoundTripTime ?? 0);
      // Of several pairs, only the one in use has an estimate.
      room = Math.min(room, entry.availableOutgoingBitrate ?? Infinity);
    }
  }
  if (limited) sum.room = room;
  return sum;
}

/** The worse of weak and bad that a value reaches; 0 for neither. */
const reached = (value, [weak, bad]) => (value > bad ? 2 : value > weak ? 1 : 0);

/** The rating of what came between two samples. Of several reasons, the worst; of equal ones, the first. */
export function rate(now, before) {
  const lost = Math.max(0, now.lost - before.lost);
  const all = lost + Math.max(0, now.received - before.received);
  const loss = Math.max(all > 0 ? lost / all : 0, now.remoteLoss);
  const found = [
    ['loss', reached(loss, LOSS)],
    // Where there is no room, packets queue, too.
    ['bandwidth', reached(-now.room, ROOM_BITS_PER_SEC.map((room) => -room))],
    ['latency', reached(now.roundTrip, ROUND_TRIP_SECS)],
  ];
  const [reason, level] = found.reduce((worst, one) => (one[1] > worst[1] ? one : worst));
  return level ? { level: level === 2 ? 'bad' : 'weak', reason } : GOOD;
}

export class Quality {
  rating = GOOD;
  /** When the last frame of their picture came, and when anything came; 0: not yet. */
  frameAt = 0;
  packetAt = 0;
  #before = null;
  #streak = 0;
  #isGood = true;

  /** Adds a sample. */
  take(report, at = Date.now()) {
    const now = count(report);
    const before = this.#before ?? { ...now, frames: 0, received: 0 };
    const rating = rate(now, this.#before ?? now);
    this.#before = now;
    if (now.frames !== before.frames) this.frameAt = at;
    if (now.received > before.received) this.packetAt = at;
    // Weak or bad may change with each sample; whether it is good must not.
    const isGood = rating === GOOD;
    this.#streak = isGood === this.#isGood ? this.#streak + 1 : 1;
    this.#isGood = isGood;
    if (this.#streak >= MOMENTS) this.rating = rating;
  }

  /** What the page knows of it, as an event's value. */
  get value() {
    const { rating, frameAt, packetAt } = this;
    return { ...rating, frameAt, packetAt };
  }
}
