// The participant's session: turns the service's messages into the list of participants and the current screen.

import { HostCommands } from './commands.js';
import { Connection, obstacle } from './connection.js';
import { People, devicesNotes, readSelf, statusOf } from './people.js';
import { changesOf, leftKey } from './trouble.js';

// After we reconnect, participants missing from the service's list may be reconnecting too: keep their video for a while.
const RETURN_MS = 20_000;

/** The end screen's key for each cause. The backend's reason is not shown to participants. */
const CAUSES = { host: 'ended-by-host', 'time-over': 'time-over', empty: 'empty' };

/**
 * Events: `waiting` and `call` (the screens), `people` (a participant joined, left or changed), `note` (`{key, who or person,
 * loud, quiet}`, to show), `asked` (to unmute, and by whom), `reaction`, `message` (any of the service's), `quality` (of a connection to
 * somebody), `lost`, `back` and `over` (why).
 */
export class Session extends HostCommands {
  self = null;
  stage = 'connecting';
  reason = '';
  people = new People((userId) => this.#removePerson(userId));
  queue = new Map();
  /** Who left last, with the cause; `null` once somebody came. */
  gone = null;
  /** The place of our raised hand among all; 0: it is not raised. */
  hand = 0;
  lost = false;
  /** The connection was lost through a fault of the service. */
  fault = false;
  /** When the session closes, by this device's clock. */
  closesAt = null;
  #clockSkewMs = 0;
  #signalling;
  #media;
  #connection = null;
  #waitTimer = 0;
  #lastCommandAt = 0;
  #endedByUs = false;
  #lastStatusSent = '';

  constructor({ signalling, media }) {
    super();
    this.#signalling = signalling;
    this.#media = media;
    signalling.addEventListener('message', ({ detail }) => this.#handleMessage(detail));
    signalling.addEventListener('lost', ({ detail: { fault } }) => {
      if (this.lost && this.fault === fault) return;
      Object.assign(this, { lost: true, fault });
      this.#emit('lost');
    });
    signalling.addEventListener('back', () => this.#handleBack());
    signalling.addEventListener('over', ({ detail }) => this.#end(detail));
    media.addEventListener('change', () => this.#mediaChanged());
  }

  start() {
    this.#signalling.open();
  }

  may(permission) {
    return this.self?.permissions.includes(permission) ?? false;
  }

  // --- commands of this participant ---------------------------------------------------------------------------------

  endForAll() {
    this.#endedByUs = true;
    this.command('end-session');
  }

  react(emoji) {
    this.#signalling.send('emoji', { data: { emoji } });
    this.#emit('reaction', { userId: this.self.userId, emoji });
  }

  setHand(hand) {
    this.hand = hand;
    this.#sendStatus();
    this.#emit('people');
  }

  leave() {
    this.#signalling.leave();
  }

  /** The page is unloaded and may come back: stop media, but do not leave the session. */
  abandon() {
    this.#connection?.close();
    this.#signalling.close();
  }

  /** Sends what only a host may; says so if it is refused, or cannot be sent. */
  command(type, fields) {
    this.#lastCommandAt = Date.now();
    return this.#signalling.send(type, fields) || this.#emit('note', { key: 'call.refused' });
  }

  /** For the stage: how loud each participant is, and whose picture is needed in full size. */
  get connection() {
    return this.#connection;
  }

  // --- messages from the service ------------------------------------------------------------------------------------

  #handleMessage(message) {
    this.#emit('message', message);
    switch (message.type) {
      case 'connected':
        return this.#handleConnected(message);
      case 'waiting':
        return this.#handleWaiting(message);
      case 'admitted':
        return this.#handleAdmitted(message);
      case 'existing-participants':
        return this.#handleExisting(message.participants ?? []);
      case 'user-joined':
        return this.#handleJoined(message);
      case 'user-left':
        return this.#handleLeft(message);
      case 'offer':
      case 'answer':
      case 'ice-candidate':
      case 'key':
        return this.#negotiate(message);
      case 'mute-status':
        return this.#handleMuteStatus(message);
      case 'emoji':
        return this.#emit('reaction', { userId: message.sender_id, emoji: message.data?.emoji });
      case 'mute-request':
        this.#media.setMuted(true);
        return this.#emit('note', { key: message.sender_id ? 'call.mutedByHost' : 'call.mutedByBackend', who: message.sender_id, loud: true });
      case 'unmute-request':
        return this.#emit('asked', message.sender_id);
      case 'session-ended':
        return this.#end('ended', message.cause);
      case 'media-changed':
        return this.#handleMediaChanged(message);
      case 'session-updated':
        return this.#handleUpdated(message);
      case 'removed':
      case 'replaced':
        return this.#end(message.type);
      case 'error':
        return this.#handleError(message);
      default:
        return undefined;
    }
  }

  #handleConnected(message) {
    this.self = readSelf(message);
    if (message.server_time) this.#clockSkewMs = Date.now() - Date.parse(message.server_time);
    this.#handleUpdated(message);
    if (!this.self.publishes) this.#media.stop();
    if (!(this.#connection ? this.#connection.change(message) : this.#createConnection(message))) return this.#end(obstacle(message));
    this.#sendStatus({ again: true });
    // The service lists the waiting participants to the host again.
    this.queue.clear();
    this.#handleBack();
    if (message.status === 'waiting') this.#returnToWaiting();
    else this.#enterCall();
    return undefined;
  }

  #handleMediaChanged(message) {
    if (this.#connection && !this.#connection.change(message)) this.#end(obstacle(message));
  }

  #handleUpdated({ closes_at: closesAt }) {
    this.closesAt = closesAt ? Date.parse(closesAt) + this.#clockSkewMs : null;
  }

  #handleBack() {
    if (!this.lost) return;
    Object.assign(this, { lost: false, fault: false });
    this.#emit('back');
  }

  #createConnection(message) {
    this.#connection = Connection.open(message, {
      userId: this.self.userId,
      publishes: this.self.publishes,
      send: (type, fields) => this.#signalling.send(type, fields),
      track: (kind) => this.#media.outgoing(kind),
      reachable: () => this.#signalling.connected,
    });
    const on = (event, handler) => this.#connection?.addEventListener(event, ({ detail }) => handler(detail));
    for (const kind of ['stream', 'beside']) on(kind, ({ userId, value }) => this.mark(userId, { [kind]: value }));
    on('state', ({ userId, value }) => {
      this.mark(userId, { state: value });
      // A participant who joined or reconnected may not know our mute state.
      if (value === 'connected') this.#sendStatus({ again: true });
    });
    on('quality', ({ userId, value }) => this.people.update(userId, { quality: value }) && this.#emit('quality'));
    on('doubt', () => this.#signalling.check());
    return this.#connection !== null;
  }

  /** The service sends us back to the waiting room, for example after a restart; wait while the others' video still runs. */
  #returnToWaiting() {
    const talking = this.stage === 'call' && [...this.people.keys()].some((userId) => this.#connection.alive(userId));
    clearTimeout(this.#waitTimer);
    if (talking) this.#waitTimer = setTimeout(() => this.#enterWaiting(), RETURN_MS);
    else this.#enterWaiting();
  }

  #enterWaiting() {
    this.stage = 'waiting';
    this.#connection.exit();
    for (const userId of [...this.people.keys()]) this.#removePerson(userId);
    this.#emit('waiting');
  }

  #handleWaiting(message) {
    if (message.user_id === this.self?.userId) {
      this.reason = message.reason;
      if (this.stage === 'waiting') this.#emit('waiting');
      return;
    }
    const known = this.queue.has(message.user_id);
    this.queue.set(message.user_id, { userId: message.user_id, name: message.name, role: message.role });
    this.#emit('people');
    if (known) return;
    this.#emit('note', { key: 'panel.waits', person: this.queue.get(message.user_id), quiet: true });
    this.#emit('knock');
  }

  #handleAdmitted({ user_id: userId }) {
    if (userId && userId !== this.self?.userId) {
      const person = this.queue.get(userId);
      if (this.queue.delete(userId)) this.#emit('note', { key: 'panel.admitted', person, quiet: true });
      return this.#emit('people');
    }
    return this.#enterCall();
  }

  #enterCall() {
    clearTimeout(this.#waitTimer);
    if (this.stage === 'call') return;
    this.stage = 'call';
    this.#emit('call');
  }

  #handleExisting(list) {
    const listed = new Set(list.map((entry) => entry.user_id));
    for (const userId of [...this.people.keys()]) {
      if (listed.has(userId)) continue;
      if (this.#connection.alive(userId)) this.people.expect(userId, RETURN_MS);
      else this.#removePerson(userId);
    }
    this.#connection.enter();
    for (const entry of list) {
      this.people.add(entry);
      this.#connection.found(entry, this.self.resumed);
    }
    this.#emit('people');
  }

  #handleJoined(entry) {
    const known = this.people.has(entry.user_id);
    const wasAlone = this.people.size === 0;
    this.people.add(entry);
    this.queue.delete(entry.user_id);
    this.gone = null;
    if (!this.#connection.alive(entry.user_id)) {
      if (known) this.#connection.left(entry.user_id);
      this.#connection.joined(entry);
    }
    if (!known) this.#emit('note', { key: 'call.joined', who: entry.user_id });
    if (wasAlone) this.#emit('company');
    this.#emit('people');
  }

  #handleLeft({ user_id: userId, cause }) {
    const person = this.people.get(userId) ?? this.queue.get(userId);
    if (this.people.has(userId)) this.gone = { ...person, cause };
    // Who is alone now reads it in the middle of the screen.
    if (person) this.#emit('note', { key: leftKey(person, cause), person, quiet: this.people.size === 1 });
    this.queue.delete(userId);
    this.#removePerson(userId);
  }

  #removePerson(userId) {
    this.#connection?.left(userId);
    this.people.delete(userId);
    this.#emit('people');
  }

  /** Only the service says whether a participant publishes; until it does, do not connect to them. */
  #negotiate(message) {
    const person = this.people.get(message.sender_id);
    if (person) this.#connection?.handle(message, person);
  }

  #handleMuteStatus({ sender_id: userId, data }) {
    const before = this.people.get(userId);
    if (!before || !data) return;
    this.mark(userId, statusOf(data));
    const after = this.people.get(userId);
    const notes = [...devicesNotes(before, after), ...changesOf(before, after).map((key) => ({ key, quiet: true }))];
    for (const note of notes) this.#emit('note', { ...note, who: userId });
  }

  mark(userId, changes) {
    if (this.people.update(userId, changes)) this.#emit('people');
  }

  /** Show an error only if it answers something the user just did. */
  #handleError({ code }) {
    if (Date.now() - this.#lastCommandAt > 3000) return;
    this.#lastCommandAt = 0;
    this.#endedByUs = false;
    this.#emit('note', { key: code === 'internal' ? 'call.refused.fault' : 'call.refused', loud: true });
  }

  #mediaChanged() {
    if (!this.#connection) return;
    for (const kind of ['audio', 'video', 'beside']) this.#connection.setTrack(kind, this.#media.outgoing(kind));
    this.#sendStatus();
  }

  #sendStatus({ again = false } = {}) {
    const status = { ...this.#media.status, hand: this.hand };
    const text = JSON.stringify(status);
    if (!this.self?.publishes || (text === this.#lastStatusSent && !again)) return;
    if (this.#signalling.send('mute-status', { data: status })) this.#lastStatusSent = text;
  }

  #end(why, cause) {
    if (this.stage === 'over') return;
    this.stage = 'over';
    clearTimeout(this.#waitTimer);
    this.people.stopTimers();
    this.#connection?.close();
    this.#signalling.close();
    this.#media.stop();
    const kind = why === 'ended' ? (this.#endedByUs ? 'ended-by-you' : (CAUSES[cause] ?? 'ended')) : why;
    this.#emit('over', kind);
  }

  #emit(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}
