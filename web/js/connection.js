// The only part of the page that knows by which way participants exchange media. `media` in `connected` names the way: `builtin`,
// from browser to browser, or `livekit`, through a media server, or `livekit-e2ee`, which is the same with media that the server
// cannot read. Each way is a *medium*, an object with Mesh's interface.
//
// The service may move a call to another way in the middle of it. The page builds the new one beside the old, shows each
// participant by the old one until the new one has a picture of them. Then it *releases* them by the old one: it receives nothing
// from them there any more. It closes the old one when the others have released it, too: slower ones still see it that way.

import { copyTracks, movingPicture } from './frames.js';
import { Keys, canEncrypt } from './keys.js';
import { LiveKit } from './livekit.js';
import { Mesh } from './peers.js';

// If there is no new picture of a participant by then, switch anyway.
const PATIENCE_MS = 20_000;
const LOOK_MS = 500;
// How long the old way stays open for others, who may need longer and cannot always report the switch; longer than their patience.
const LINGER_MS = 30_000;
// Offers by a way that we were not told of yet.
const EARLY_MAX = 200;
const EARLY_MS = 10_000;

/** The data of `connected` and of `media-changed`; `null` if this page is too old to understand it. */
function read({ media, url, ice_servers: iceServers, ice_policy: policy }) {
  const configuration = { iceServers: iceServers ?? [], iceTransportPolicy: policy === 'relay' ? 'relay' : 'all' };
  if (media === 'builtin') return { key: media, Medium: Mesh, configuration };
  // The address is another one after each move.
  if (media === 'livekit' && url) return { key: url, Medium: LiveKit, configuration, url };
  if (media === 'livekit-e2ee' && url && canEncrypt()) return { key: url, Medium: LiveKit, configuration, url, isEncrypted: true };
  return null;
}

/** Why this page cannot take part, or cannot follow: an end screen. */
export function obstacle({ media }) {
  // Nodes of this kind are for clients other than this page.
  if (media === 'openvidu') return 'other-app';
  return media === 'livekit-e2ee' && !canEncrypt() ? 'no-encryption' : 'outdated';
}

/** Whether frames may come: a camera that was switched off may look so for a while. */
const hasPicture = (stream) => stream.getVideoTracks().some((track) => track.readyState === 'live' && !track.muted);

/**
 * All the others. Events, with `{userId, value}`: `stream`, `beside` (the camera of who shows a screen, or null), `state` (`connected`, `interrupted`, `stuck`), `quality` (Quality's value, or `null`)
 * and `doubt` (media broke, so the connection to the service may be broken too).
 */
export class Connection extends EventTarget {
  /** The newest is last. There is more than one only during a move. */
  #ways = [];
  /** By user id: their `entry`, the `stream` that is shown, and the `way` that it comes by. */
  #people = new Map();
  #page;
  /** Only if a media server carries the call and must not read it. */
  #keys = null;
  #entered = false;
  #early = [];
  #closing = 0;

  /** Returns `null` if this page cannot take part. `page` has what Mesh's constructor takes. */
  static open(connected, page) {
    const given = read(connected);
    if (!given) return null;
    const connection = new Connection(page);
    connection.#add(given);
    return connection;
  }

  constructor(page) {
    super();
    this.#page = page;
  }

  /** Takes new data from the service: renewed credentials, or another way. Returns false if this page cannot follow. */
  change(message) {
    const given = read(message);
    if (!given) return false;
    if (given.key === this.#newest.key) this.#newest.medium.configure(given.configuration);
    else this.#add(given);
    return true;
  }

  /** We are in the call. */
  enter() {
    this.#entered = true;
    for (const { medium } of this.#ways) medium.enter();
  }

  /** We are back in the waiting room. */
  exit() {
    this.#entered = false;
    for (const { medium } of this.#ways) medium.exit();
  }

  joined(entry) {
    this.#person(entry.user_id).entry = entry;
    this.#keys?.add(entry);
    for (const { medium } of this.#ways) medium.joined(entry);
  }

  found(entry, resumed) {
    this.#person(entry.user_id).entry = entry;
    this.#keys?.add(entry);
    for (const { medium } of this.#ways) medium.found(entry, resumed);
  }

  left(userId) {
    this.#people.delete(userId);
    this.#keys?.remove(userId);
    for (const { medium } of this.#ways) medium.left(userId);
    this.#settle();
  }

  alive(userId) {
    return this.#ways.some(({ medium }) => medium.alive(userId));
  }

  /** How loud a participant is, from 0 to 1. */
  level(userId) {
    return this.#people.get(userId)?.way?.medium.level(userId) ?? 0;
  }

  /** Which picture is large, as `{userId, isBeside}`, or null: the others need not come in full size. */
  enlarge(large) {
    this.#page.large = large;
    for (const { medium } of this.#ways) medium.enlarge?.(large);
  }

  /** Handles an offer, answer, candidate or key from another participant. They may have been told of a move before us. */
  handle(message, person) {
    if (message.type === 'key') return this.#keys?.handle(message);
    const [way] = this.#ways.filter(({ medium }) => medium instanceof Mesh).slice(-1);
    if (way && (way === this.#newest || this.#isMeantFor(way, message))) return way.medium.handle(message, person);
    this.#early.push({ message, person, at: Date.now() });
    if (this.#early.length > EARLY_MAX) this.#early.shift();
    return undefined;
  }

  setTrack(kind, track) {
    for (const { medium } of this.#ways) medium.setTrack(kind, track);
  }

  close() {
    clearInterval(this.#closing);
    for (const { medium } of this.#ways) medium.close();
    this.#keys?.close();
  }

  get #newest() {
    return this.#ways[this.#ways.length - 1];
  }

  #person(userId) {
    if (!this.#people.has(userId)) this.#people.set(userId, { userId, stream: new MediaStream(), way: null, next: null });
    return this.#people.get(userId);
  }

  #add({ key, Medium, configuration, url, isEncrypted }) {
    if (isEncrypted && !this.#keys) this.#makeKeys();
    const medium = new Medium({ ...this.#page, configuration, url, keys: isEncrypted ? this.#keys : null });
    const way = { key, medium };
    // Of ways that never came about, none is kept.
    const shown = new Set([...this.#people.values()].map((person) => person.way));
    this.#drop(this.#ways.slice(0, -1).filter((old) => !shown.has(old)));
    this.#ways.push(way);
    const on = (event, handler) => medium.addEventListener(event, ({ detail }) => handler(detail));
    on('stream', ({ userId, value }) => this.#arrived(way, this.#person(userId), value));
    on('beside', ({ userId }) => this.#people.get(userId)?.way === way && this.#emitBeside(userId, way));
    on('state', ({ userId, value }) => this.#changed(way, this.#person(userId), value));
    on('quality', ({ userId, value }) => this.#people.get(userId)?.way === way && this.#emit('quality', userId, value));
    on('doubt', ({ userId }) => this.#emit('doubt', userId));
    on('ready', () => this.#settle());
    if (this.#entered) medium.enter();
    for (const { entry } of this.#people.values()) if (entry) medium.meet(entry);
    if (medium instanceof Mesh) this.#handleEarly(medium);
    this.#settle();
  }

  #makeKeys() {
    this.#keys = new Keys(this.#page);
    for (const { entry } of this.#people.values()) if (entry) this.#keys.add(entry);
  }

  /** Whether a message is for a way that we are about to leave, and not for one that we were not told of yet. */
  #isMeantFor(way, message) {
    if (message.type !== 'ice-candidate') return way.medium.knows(message);
    // Candidates follow the offer that they belong to.
    return !this.#early.some(({ message: early }) => early.sender_id === message.sender_id);
  }

  #handleEarly(medium) {
    for (const { message, person, at } of this.#early.splice(0)) if (Date.now() - at < EARLY_MS) medium.handle(message, person);
  }

  // --- whom to show by which way ------------------------------------------------------------------------------------

  #arrived(way, person, stream) {
    if (!person.way || person.way === way) return this.#show(way, person, stream);
    if (way !== this.#newest) return undefined;
    this.#await(way, person, stream);
    const [picture] = stream.getVideoTracks();
    return picture && movingPicture(picture, PATIENCE_MS).then((came) => came && this.#take(way, person));
  }

  #changed(way, person, value) {
    if (value === 'connected' && way === this.#newest && person.way && person.way !== way) this.#await(way, person);
    if (!person.way || person.way === way) this.#emit('state', person.userId, value);
    this.#settle();
  }

  /** A participant is there by a new way. Waits for their picture if there is one by the old way. */
  #await(way, person, stream) {
    if (person.next?.way !== way) {
      person.next = { way, stream: null, since: Date.now() };
      const timer = setInterval(() => {
        if (!this.#awaits(way, person)) clearInterval(timer);
        else if (!this.#isWorthWaiting(person)) this.#take(way, person);
      }, LOOK_MS);
    }
    person.next.stream = stream ?? person.next.stream;
  }

  #awaits(way, person) {
    return person.next?.way === way && this.#people.get(person.userId) === person;
  }

  #isWorthWaiting({ userId, way, stream, next }) {
    const waited = Date.now() - next.since;
    const alive = way?.medium.alive(userId);
    // A picture that falters is more than none: their sound may be there before it by the new way.
    const isAhead = stream.getVideoTracks().length > 0 && !next.stream?.getVideoTracks().length;
    if (alive && isAhead) return waited < LINGER_MS;
    return waited < PATIENCE_MS && ((alive && hasPicture(stream)) || !next.stream);
  }

  #take(way, person) {
    if (this.#awaits(way, person)) this.#show(way, person, person.next.stream);
  }

  #show(way, person, stream) {
    const moved = person.way !== way;
    person.way = way;
    if (person.next?.way === way) person.next = null;
    copyTracks(stream, person.stream);
    this.#emit('stream', person.userId, person.stream);
    if (!moved) return;
    for (const old of this.#ways) {
      // Of two meshes, the others could not tell which one is meant.
      if (old !== way && way === this.#newest && !(old.medium instanceof Mesh && way.medium instanceof Mesh)) old.medium.release(person.userId);
    }
    // The camera beside a screen may come later than the screen: until then, the tile keeps its last picture.
    if (way.medium.beside(person.userId)) this.#emitBeside(person.userId, way);
    this.#emit('quality', person.userId, null);
    this.#emitState(person);
    this.#settle();
  }

  /** Closes the old ways once nothing comes by them any more, and the others do not need them or had time enough. */
  #settle() {
    const newest = this.#newest;
    const isOld = ({ way }) => way && way !== newest;
    const isNeeded = (person) => isOld(person) && person.way.medium.alive(person.userId);
    const settled = this.#ways.length > 1 && newest.medium.ready && ![...this.#people.values()].some(isNeeded);
    if (!settled) {
      clearInterval(this.#closing);
      this.#closing = 0;
    } else if (!this.#closing) {
      const deadline = Date.now() + LINGER_MS;
      this.#closing = setInterval(() => {
        const serves = this.#ways.slice(0, -1).some(({ medium }) => medium.serves) || [...this.#people.values()].some(isOld);
        if (serves && Date.now() < deadline) return;
        clearInterval(this.#closing);
        this.#closing = 0;
        this.#drop(this.#ways.slice(0, -1));
      }, LOOK_MS);
    }
  }

  #drop(ways) {
    for (const way of ways) {
      way.medium.close();
      this.#ways.splice(this.#ways.indexOf(way), 1);
      for (const person of this.#people.values()) {
        if (person.way !== way) continue;
        person.way = null;
        if (person.next) this.#take(person.next.way, person);
        else this.#emitState(person);
      }
    }
    for (const { userId, way } of this.#people.values()) if (way) this.#emitBeside(userId, way);
  }

  #emitState({ userId }) {
    if (this.alive(userId)) this.#emit('state', userId, 'connected');
  }

  #emitBeside(userId, way) {
    this.#emit('beside', userId, way.medium.beside(userId));
  }

  #emit(event, userId, value) {
    this.dispatchEvent(new CustomEvent(event, { detail: { userId, value } }));
  }
}
