// Participants who exchange media through a LiveKit server. The page reaches its signalling at an address of the service's, which
// lets in who is in the call, and brings no credential but its cookie.

import { encryption } from './encryption.js';
import { load } from './livekit-library.js';
import { neededSize } from './layout.js';
import { Publisher } from './publisher.js';
import { Quality } from './quality.js';

// The service ignores it, but the client needs one.
const TOKEN = 'door';
const FIRST_MS = 300;
const LAST_MS = 3000;
const OPEN_MS = 8000;
const SAMPLE_MS = 1000;
/** More of the screen's pixels for each of the window's than a picture needs. */
const RATIO_MAX = 2;
// After this time without a connection, the page tells the user and keeps trying.
const STUCK_MS = 20_000;

/** The wait before an attempt, counted from 0: doubles each time, with jitter of half of it. */
function backoff(attempt) {
  const whole = Math.min(LAST_MS, FIRST_MS * 2 ** Math.min(attempt, 10));
  return whole / 2 + (whole / 2) * Math.random();
}

/** One of the others: what comes from them, whether they are known to the room or not. */
class Person {
  stream = new MediaStream();
  /** Their camera while they show their screen. */
  beside = null;
  state = 'connecting';
  quality = new Quality();
  aliveAt = Date.now();
}

/** The room on the server; an object with Mesh's interface and events. */
export class LiveKit extends EventTarget {
  /** Whether we are in the room with what we publish. */
  ready = false;
  #people = new Map();
  #publisher = new Publisher();
  #room = null;
  /** If the server must not read what we send and receive. */
  #keys;
  #encryption = null;
  #rtcConfig;
  #inCall = false;
  #closed = false;
  #attempt = 0;
  #timer = 0;
  #sampler = 0;
  #away = new AbortController();

  constructor({ publishes, configuration, url, track, keys, reachable, large = null }) {
    super();
    Object.assign(this, { publishes, reachable, large });
    this.#keys = keys;
    this.url = Object.assign(new URL(url, location), { protocol: location.protocol.replace('http', 'ws') }).href;
    // The client reads this object again whenever it connects.
    this.#rtcConfig = { ...configuration };
    if (publishes) for (const kind of ['audio', 'video', 'beside']) this.#publisher.set(kind, track(kind));
    // While a participant waits to be admitted, there is time for it.
    load().catch(() => {});
    this.#sampler = setInterval(() => {
      this.#sample();
      this.#rate().catch(() => {});
    }, SAMPLE_MS);
    window.addEventListener('resize', () => this.#chooseSizes(), { signal: this.#away.signal });
  }

  enter() {
    if (this.#inCall || this.#closed) return;
    this.#inCall = true;
    this.#connect();
  }

  exit() {
    this.#inCall = false;
    this.#leaveRoom();
  }

  joined({ user_id: userId, publishes }) {
    if (!publishes || this.#people.has(userId)) return;
    this.#people.set(userId, new Person());
    this.#takeTracks(userId);
    this.#sample();
    this.#chooseSizes();
  }

  found(entry) {
    // The service is reachable again: do not wait for the next attempt.
    if (!this.#room && this.#timer) this.#connect();
    this.joined(entry);
  }

  meet(entry) {
    this.joined(entry);
  }

  left(userId) {
    if (this.#people.delete(userId)) this.#chooseSizes();
  }

  /** Whether somebody may still want what we send this way: the server does not say. */
  get serves() {
    return this.#room?.state === 'connected' && this.#room.remoteParticipants.size > 0;
  }

  /** We have what they send by another way. */
  release(userId) {
    for (const publication of this.#remote(userId)?.trackPublications.values() ?? []) publication.setSubscribed(false);
  }

  alive(userId) {
    return this.#people.has(userId) && this.#isAlive(userId);
  }

  /** How loud a participant is, as the server says. */
  level(userId) {
    return this.#remote(userId)?.audioLevel ?? 0;
  }

  /** Asks for this picture in full size, and for small ones of the others. */
  enlarge(large) {
    this.large = large;
    this.#chooseSizes();
  }

  /** Participants have nothing to negotiate with each other. */
  handle() {}

  setTrack(kind, track) {
    if (this.publishes) this.#publisher.set(kind, track);
  }

  /** The camera of a participant who shows their screen, too. */
  beside(userId) {
    return this.#people.get(userId)?.beside ?? null;
  }

  configure(configuration) {
    Object.assign(this.#rtcConfig, configuration);
  }

  close() {
    this.#closed = true;
    this.#away.abort();
    clearInterval(this.#sampler);
    this.exit();
    this.#people.clear();
  }

  // --- the room ---------------------------------------------------------------------------------------------------------

  async #connect() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    let room = null;
    // Another attempt, or the end, may come while we wait.
    const attempt = Symbol('attempt');
    this.#room = attempt;
    const current = () => this.#room === (room ?? attempt);
    try {
      const client = await load();
      if (!current()) return;
      if (this.#keys) this.#encryption = encryption(client, this.#keys);
      room = new client.Room({
        dynacast: true,
        // The tracks belong to media.js.
        stopLocalTrackOnUnpublish: false,
        disconnectOnPageLeave: false,
        reconnectPolicy: { nextRetryDelayInMs: ({ retryCount }) => backoff(retryCount) },
        encryption: this.#encryption?.options,
      });
      this.#room = room;
      this.#listen(room, client.RoomEvent, (handler) => (...given) => current() && handler(...given));
      if (this.#keys) await room.setE2EEEnabled(true);
      await room.connect(this.url, TOKEN, { rtcConfig: this.#rtcConfig, websocketTimeout: OPEN_MS, maxRetries: 0 });
      if (!current()) return;
      this.#attempt = 0;
      this.#sample();
      if (this.publishes) await this.#publisher.use(room);
      if (!current()) return;
      this.ready = true;
      this.dispatchEvent(new CustomEvent('ready', { detail: {} }));
    } catch {
      if (current()) this.#lost();
      else room?.disconnect(false).catch(() => {});
    }
  }

  #listen(room, events, current) {
    const on = (event, handler) => room.on(events[event], current(handler));
    for (const event of ['TrackSubscribed', 'TrackUnsubscribed']) on(event, (track, publication, { identity }) => this.#takeTracks(identity));
    // An ended screen's track may go before the server says that it is not published any more.
    on('TrackUnpublished', (publication, { identity }) => this.#takeTracks(identity));
    for (const event of ['ParticipantConnected', 'ParticipantDisconnected', 'ConnectionQualityChanged', 'Reconnected']) on(event, () => this.#sample());
    for (const event of ['SignalReconnecting', 'Reconnecting']) on(event, () => this.#doubt());
    on('EncryptionError', (error, participant) => participant && this.#keys?.ask(participant.identity));
    on('Disconnected', () => {
      this.#doubt();
      this.#lost();
    });
  }

  /** The client gave up, or the server let us go. Only the service knows whether we are still in the call, so go on. */
  #lost() {
    this.#leaveRoom();
    this.#sample();
    if (this.#inCall) this.#timer = setTimeout(() => this.#connect(), backoff(this.#attempt++));
  }

  #leaveRoom() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.ready = false;
    this.#publisher.use(null);
    const room = this.#room;
    this.#room = null;
    room?.disconnect?.(false).catch(() => {});
    this.#encryption?.close();
    this.#encryption = null;
    for (const person of this.#people.values()) {
      for (const track of person.stream.getTracks()) person.stream.removeTrack(track);
      person.beside = null;
    }
  }

  #doubt() {
    for (const userId of this.#people.keys()) this.#emit('doubt', userId);
    this.#sample();
  }

  // --- the others -------------------------------------------------------------------------------------------------------

  #remote(userId) {
    return this.#room?.remoteParticipants?.get(userId);
  }

  /** Of a participant's tracks, those to show: their microphone, their screen or else their camera, and the camera beside a screen. */
  #takeTracks(userId) {
    const person = this.#people.get(userId);
    if (!person) return;
    const takes = ({ isEncrypted }) => isEncrypted || !this.#keys;
    const publications = [...(this.#remote(userId)?.trackPublications.values() ?? [])].filter(takes);
    const of = (wanted) => publications.find(({ source }) => source === wanted);
    const [microphone, screen, camera] = ['microphone', 'screen_share', 'camera'].map((source) => of(source)?.track?.mediaStreamTrack);
    // A camera that arrives before the screen does not take its place.
    const isEarly = of('screen_share') && !person.stream.getTracks().includes(camera);
    const picture = screen ?? (isEarly ? undefined : camera);
    this.#takeMain(userId, person, [microphone, picture].filter(Boolean));
    this.#takeBeside(userId, person, picture === camera ? undefined : camera);
  }

  #takeMain(userId, { stream }, tracks) {
    const before = stream.getTracks();
    if (tracks.length === before.length && tracks.every((track) => before.includes(track))) return;
    for (const track of before) if (!tracks.includes(track)) stream.removeTrack(track);
    for (const track of tracks) stream.addTrack(track);
    this.#emit('stream', userId, stream);
    this.#chooseSizes();
  }

  #takeBeside(userId, person, camera) {
    if (camera === person.beside?.getTracks()[0]) return;
    person.beside = camera ? new MediaStream([camera]) : null;
    this.#emit('beside', userId, person.beside);
    this.#chooseSizes();
  }

  #isAlive(userId) {
    const remote = this.#remote(userId);
    if (!remote || remote.connectionQuality === 'lost') return false;
    if (this.#room.state === 'connected') return true;
    // Only the signalling may be lost: then media goes on.
    return this.#room.state === 'signalReconnecting' && [...remote.trackPublications.values()].some(({ track }) => track?.currentBitrate > 0);
  }

  #sample() {
    for (const [userId, person] of this.#people) {
      if (this.#isAlive(userId)) {
        person.aliveAt = Date.now();
        this.#setState(userId, person, 'connected');
        continue;
      }
      // Without the service, nobody can connect.
      if (!this.reachable()) person.aliveAt = Date.now();
      if (Date.now() - person.aliveAt > STUCK_MS) this.#setState(userId, person, 'stuck');
      else if (person.state === 'connected') this.#setState(userId, person, 'interrupted');
    }
  }

  async #rate() {
    const isPoor = (participant) => participant?.connectionQuality === 'poor';
    for (const [userId, { quality, state }] of [...this.#people]) {
      const remote = this.#remote(userId);
      if (!remote || state !== 'connected') continue;
      const receivers = [...remote.trackPublications.values()].map(({ track }) => track?.receiver).filter(Boolean);
      const reports = await Promise.all(receivers.map((receiver) => receiver.getStats()));
      quality.take(new Map(reports.flatMap((report) => [...report.entries()])));
      // The server sees both ends.
      const server = isPoor(this.#room?.localParticipant) ? 'own' : isPoor(remote) ? 'theirs' : null;
      const { value } = quality;
      const poor = server && value.level === 'good' ? { level: 'weak', reason: 'loss' } : {};
      if (this.#people.has(userId)) this.#emit('quality', userId, { ...value, ...poor, server });
    }
  }

  #setState(userId, person, state) {
    if (person.state === state) return;
    person.state = state;
    this.#emit('state', userId, state);
  }

  /** Asks the server for pictures no larger than there is room for. */
  #chooseSizes() {
    const ratio = Math.min(RATIO_MAX, window.devicePixelRatio || 1);
    const space = { width: window.innerWidth, height: window.innerHeight };
    for (const [userId, { beside }] of this.#people) {
      const isBeside = beside !== null;
      // Their screen comes in full size anyway.
      const isLarge = this.large ? this.large.userId === userId && this.large.isBeside === isBeside : !isBeside;
      const size = neededSize(space, { isLarge, ratio });
      for (const publication of this.#remote(userId)?.videoTrackPublications.values() ?? []) {
        if (publication.source === 'camera' && publication.track) publication.setVideoDimensions(size);
      }
    }
  }

  #emit(event, userId, value) {
    this.dispatchEvent(new CustomEvent(event, { detail: { userId, value } }));
  }
}
