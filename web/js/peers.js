// Participants who connect to each other directly: one peer connection for each of the others.

import { Peer } from './peer.js';

const STATS_MS = 800;

/**
 * All the others. Events, with `{userId, value}`: `stream`, `beside` (there is another one), `state` (`connected`, `interrupted`, `stuck`), `quality` (Quality's value)
 * and `doubt` (a peer connection broke, so the connection to the service may be broken too).
 */
export class Mesh extends EventTarget {
  /** Whether others can reach us this way. */
  ready = true;
  #peers = new Map();
  #timer = 0;

  constructor({ userId, publishes, configuration, send, track, reachable }) {
    super();
    Object.assign(this, { userId, publishes, configuration, send, track });
    this.isReachable = reachable;
    this.#timer = setInterval(() => {
      for (const peer of this.#peers.values()) peer.sample().catch(() => {});
    }, STATS_MS);
  }

  /** Whether anybody still wants what we send this way. */
  get serves() {
    return [...this.#peers.values()].some((peer) => peer.serves);
  }

  get reachable() {
    return this.isReachable();
  }

  /** Nothing to do in or out of the call: the service lets offers through only within it. */
  enter() {}

  exit() {}

  /** A participant joined after us: we make the offer, unless they must. */
  joined({ user_id: userId, publishes }) {
    if (this.#peers.has(userId) || !(publishes || this.publishes)) return;
    const peer = this.#add(userId, publishes);
    if (this.publishes) peer.offer();
    else peer.awaitOffer();
  }

  /** A participant was here before us. If they were not told about us, or may not make offers, we make one. */
  found({ user_id: userId, publishes }, resumed) {
    const known = this.#peers.get(userId);
    if (known && (resumed || known.alive)) return known.resume();
    // We were away for too long: they dropped us and will make a new offer.
    this.left(userId);
    if (!(publishes || this.publishes)) return undefined;
    const peer = this.#add(userId, publishes);
    return this.publishes && (resumed || !publishes) ? peer.offer() : peer.awaitOffer();
  }

  /** A participant who was told at the same time as we are to connect this way: the impolite one makes the offer. */
  meet({ user_id: userId, publishes }) {
    if (this.#peers.has(userId) || !(publishes || this.publishes)) return;
    const peer = this.#add(userId, publishes);
    if (this.publishes && !(publishes && peer.polite)) peer.offer();
    else peer.awaitOffer();
  }

  left(userId) {
    this.#peers.get(userId)?.close();
    this.#peers.delete(userId);
  }

  /** We have what they send by another way. */
  release(userId) {
    this.#peers.get(userId)?.release();
  }

  alive(userId) {
    return this.#peers.get(userId)?.alive ?? false;
  }

  /** The camera of a participant who shows their screen, too. */
  beside(userId) {
    return this.#peers.get(userId)?.beside ?? null;
  }

  level(userId) {
    return this.#peers.get(userId)?.level ?? 0;
  }

  /** Handles an offer, answer or candidate from another participant, given whether they publish. */
  handle(message, { publishes }) {
    const userId = message.sender_id;
    let peer = this.#peers.get(userId);
    if (!peer && message.type === 'offer' && (publishes || this.publishes)) peer = this.#add(userId, publishes);
    peer?.handle(message);
  }

  /** Whether an offer or answer belongs to a connection that we have. */
  knows({ sender_id: userId, data }) {
    return this.#peers.get(userId)?.knows(data?.sdp) ?? false;
  }

  setTrack(kind, track) {
    for (const peer of this.#peers.values()) peer.setTrack(kind, track);
  }

  configure(configuration) {
    this.configuration = configuration;
    for (const peer of this.#peers.values()) peer.configure(configuration);
  }

  close() {
    clearInterval(this.#timer);
    for (const userId of [...this.#peers.keys()]) this.left(userId);
  }

  emit(event, userId, value) {
    this.dispatchEvent(new CustomEvent(event, { detail: { userId, value } }));
  }

  #add(userId, theyPublish) {
    const peer = new Peer(this, userId, theyPublish);
    this.#peers.set(userId, peer);
    return peer;
  }
}
