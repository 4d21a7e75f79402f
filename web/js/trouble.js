// What the participant is told when something is wrong: one message, and only what is known. All of it pure; watch.js feeds it.

/** A picture that has stood still for so long is frozen: as it is looked at each second or more often, it is noticed within three. */
export const FROZEN_MS = 1500;

/** What is wrong, the most important first. Of a list, only the first is told. */
const ORDER = ['fault', 'lost', 'own', 'stuck', 'interrupted', 'frozen', 'weak'];

/** Notes with this mark go before troubles, all others after them. */
const rankOf = ({ kind, loud }) => (kind ? ORDER.length - ORDER.indexOf(kind) : loud ? ORDER.length + 1 : 0);

/** The one to show of all that could be shown; of equally important ones, the newest, which is the last. */
export function pick(notices) {
  return notices.reduce((best, one) => (best && rankOf(best) > rankOf(one) ? best : one), null);
}

/** Whether somebody's picture should move and does not. `since`: from when on it should. */
export function isFrozen({ state, publishes, cameraOff, screen, quality }, { now, since }) {
  // A shown screen may stand still.
  if (state !== 'connected' || !publishes || cameraOff || screen || !quality?.frameAt) return false;
  return now - Math.max(quality.frameAt, since) > FROZEN_MS;
}

const isFresh = (quality, now) => Boolean(quality) && now - quality.packetAt < FROZEN_MS;

/** Whether anything comes from somebody. Who looks at a frozen picture must not be told that it does. */
export const flows = ({ state, quality }, now) => state === 'connected' && isFresh(quality, now);

/** What is wrong with the connection to somebody; `null` if nothing is. */
export function kindOf(person, context) {
  if (!person.publishes) return null;
  if (person.state === 'stuck') return 'stuck';
  // A lossy network seems to be gone for moments in which the picture hardly stops.
  if (person.state === 'interrupted') return isFresh(person.quality, context.now) ? null : 'interrupted';
  if (isFrozen(person, context)) return 'frozen';
  return person.state === 'connected' && person.quality && person.quality.level !== 'good' ? 'weak' : null;
}

/**
 * Whose connection it is: `own`, `theirs`, or `null` if nobody can know. `own`: whether ours to the service is good. `theirs`:
 * what their page says of theirs; `silent` if it does not answer although ours is good. `server`: whom the media server names.
 */
export function blame({ own, theirs, server = null }) {
  if (own !== 'good') return 'own';
  if (theirs === 'weak' || theirs === 'silent') return 'theirs';
  return server;
}

/**
 * The trouble to tell of, or `null`: its `kind`, the catalogue's `key`, and whom it is about.
 * `people` are those whose connection is in trouble, each with `userId`, `kind` and `whose`.
 */
export function trouble({ fault, lost, flowing, people }) {
  const all = people.map(({ userId, kind, whose }) => {
    if (whose === 'own') return { kind: 'own', key: kind === 'frozen' ? 'call.own.frozen' : 'call.own' };
    return { kind, userId, key: whose === 'theirs' && kind !== 'stuck' ? `call.${kind}.theirs` : `call.${kind}` };
  });
  if (lost) all.push({ kind: 'lost', key: flowing ? 'call.lost.media' : 'call.lost' });
  if (lost && fault) all.push({ kind: 'fault', key: 'call.lost.fault' });
  return pick(all.reverse());
}

/** The text for who is alone in the call: whether to wait, and for whom. */
export function aloneKey({ role, knocks, gone }) {
  if (knocks) return 'call.alone.knock';
  const side = role === 'doctor' ? 'patient' : 'doctor';
  const how = { left: 'left', lost: 'lost' }[gone?.cause];
  if (how && gone.role === side) return `call.alone.${side}.${how}`;
  return role === 'doctor' ? 'call.alone.doctor' : 'call.alone';
}

/** What is said when somebody is gone. A doctor may come back: the others should not leave, too. */
export function leftKey({ role }, cause) {
  if (cause === 'removed') return 'call.wasRemoved';
  const key = cause === 'lost' ? 'call.vanished' : 'call.left';
  return role === 'doctor' ? `${key}.host` : key;
}

/** What is said of somebody's change, besides that of their microphone and their screen: the catalogue's keys. */
export function changesOf(before, after) {
  const keys = [];
  const told = (name, on, off) => {
    if (Boolean(before[name]) !== Boolean(after[name])) keys.push(after[name] ? on : off);
  };
  // Who shows a screen has no camera to switch; of one that the system takes, people.js tells.
  if (![before, after].some(({ screen, camera }) => screen || camera === 'interrupted')) told('cameraOff', 'call.cameraWentOff', 'call.cameraWentOn');
  told('hand', 'hand.raised', 'hand.lowered');
  return keys;
}
