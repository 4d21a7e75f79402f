// The participant's session: turns the service's messages into the list of participants and the current screen.

import { connect, renew } from './connection.js';

// After we reconnect, participants missing from the service's list may be reconnecting too: keep their video for a while.
const RETURN_MS = 20_000;

/** The end screen's key for each cause. The backend's reason is not shown to participants. */
const CAUSES = { host: 'ended-by-host', 'time-over': 'time-over', empty: 'empty' };

/**
 * Events: `waiting` and `call` (the screens), `people` (a participant joined, left or changed), `note` (`{key, who or person,
 * loud, quiet}`, to show), `reaction`, `lost`, `back` and `over` (why).
 */
export class Session extends EventTarget {
  self = null;
  stage = 'connecting';
  reason = '';
  people = new Map();
  queue = new Map();
  lost = false;
  /** The connection was lost through a fault of the service. */
  fault = false;
  /** When the session closes, by this device's clock. */
  closesAt = null;
  #behind = 0;
  #signalling;
  #media;
  #connection = null;
  #returning = new Map();
  #stepBack = 0;
  #acted = 0;
  #endedByUs = false;
  #told = '';

  constructor({ signalling, media }) {
    super();
    this.#signalling = signalling;
    this.#media = media;
    signalling.addEventListener('message', ({ detail }) => this.#hear(detail));
    signalling.addEventListener('lost', ({ detail: { fault } }) => {
      if (this.lost && this.fault === fault) return;
      Object.assign(this, { lost: true, fault });
      this.#tell('lost');
    });
    signalling.addEventListener('back', () => this.#back());
    signalling.addEventListener('over', ({ detail }) => this.#end(detail));
    media.addEventListener('change', () => this.#mediaChanged());
  }

  start() {
    this.#signalling.open();
  }

  may(permission) {
    return this.self?.permissions.includes(permission) ?? false;
  }

  // --- what this participant does -----------------------------------------------------------------------------------

  admit(userId) {
    this.#act('admit', { target_id: userId });
  }

  askToMute(userId) {
    this.#act('mute-request', { target_id: userId });
  }

  remove(userId, keepOut) {
    this.#act('remove', { target_id: userId, keep_out: keepOut });
  }

  endForAll() {
    this.#endedByUs = true;
    this.#act('end-session');
  }

  react(emoji) {
    this.#signalling.send('emoji', { data: { emoji } });
    this.#tell('reaction', { userId: this.self.userId, emoji });
  }

  leave() {
    this.#signalling.leave();
  }

  /** The page is unloaded and may come back: stop media, but do not leave the session. */
  abandon() {
    this.#connection?.close();
    this.#signalling.close();
  }

  #act(type, fields) {
    this.#acted = Date.now();
    if (!this.#signalling.send(type, fields)) this.#tell('note', { key: 'call.refused' });
  }

  // --- what the service says ----------------------------------------------------------------------------------------

  #hear(message) {
    const { type } = message;
    switch (type) {
      case 'connected':
        return this.#connected(message);
      case 'waiting':
        return this.#waits(message);
      case 'admitted':
        return this.#admitted(message);
      case 'existing-participants':
        return this.#existing(message.participants ?? []);
      case 'user-joined':
        return this.#joined(message);
      case 'user-left':
        return this.#left(message);
      case 'offer':
      case 'answer':
      case 'ice-candidate':
        return this.#negotiate(message);
      case 'mute-status':
        return this.#muteStatus(message);
      case 'emoji':
        return this.#tell('reaction', { userId: message.sender_id, emoji: message.data?.emoji });
      case 'mute-request':
        this.#media.setMuted(true);
        return this.#tell('note', { key: message.sender_id ? 'call.mutedByHost' : 'call.mutedByBackend', who: message.sender_id, loud: true });
      case 'removed':
        return this.#end('removed');
      case 'session-ended':
        return this.#end('ended', message.cause);
      case 'session-updated':
        return this.#updated(message);
      case 'replaced':
        return this.#end('replaced');
      case 'error':
        return this.#refused(message);
      default:
        return undefined;
    }
  }

  #connected(message) {
    const permissions = message.permissions ?? [];
    this.self = {
      userId: message.user_id,
      name: message.name,
      role: message.role,
      permissions,
      publishes: message.publishes ?? !permissions.includes('observer'),
      resumed: Boolean(message.resumed),
    };
    if (message.server_time) this.#behind = Date.now() - Date.parse(message.server_time);
    this.#updated(message);
    if (!this.self.publishes) this.#media.stop();
    if (this.#connection) renew(this.#connection, message);
    else if (!this.#open(message)) return this.#end('outdated');
    this.#tellStatus({ again: true });
    // The service lists the waiting participants to the host again.
    this.queue.clear();
    this.#back();
    if (message.status === 'waiting') this.#mustWait();
    else this.#enter();
    return undefined;
  }

  #updated({ closes_at: closesAt }) {
    this.closesAt = closesAt ? Date.parse(closesAt) + this.#behind : null;
  }

  #back() {
    if (!this.lost) return;
    Object.assign(this, { lost: false, fault: false });
    this.#tell('back');
  }

  #open(message) {
    this.#connection = connect(message, {
      publishes: this.self.publishes,
      send: (type, fields) => this.#signalling.send(type, fields),
      track: (kind) => this.#media.outgoing(kind),
      reachable: () => this.#signalling.connected,
    });
    const on = (event, handler) => this.#connection?.addEventListener(event, ({ detail }) => handler(detail));
    on('stream', ({ userId, value }) => this.#update(userId, { stream: value }));
    on('state', ({ userId, value }) => {
      this.#update(userId, { state: value });
      // A participant who joined or reconnected may not know our mute state.
      if (value === 'connected') this.#tellStatus({ again: true });
      if (value === 'stuck') this.#tell('note', { key: 'call.stuck', who: userId, loud: true });
    });
    on('quality', ({ userId, value }) => this.#poor(userId, value));
    on('doubt', () => this.#signalling.check());
    return this.#connection !== null;
  }

  /** The service sends us back to the waiting room, for example after a restart; wait while the others' video still runs. */
  #mustWait() {
    const talking = this.stage === 'call' && [...this.people.keys()].some((userId) => this.#connection.alive(userId));
    clearTimeout(this.#stepBack);
    if (talking) this.#stepBack = setTimeout(() => this.#wait(), RETURN_MS);
    else this.#wait();
  }

  #wait() {
    this.stage = 'waiting';
    for (const userId of [...this.people.keys()]) this.#forget(userId);
    this.#tell('waiting');
  }

  #waits(message) {
    if (message.user_id === this.self?.userId) {
      this.reason = message.reason;
      if (this.stage === 'waiting') this.#tell('waiting');
      return;
    }
    const known = this.queue.has(message.user_id);
    this.queue.set(message.user_id, { userId: message.user_id, name: message.name, role: message.role });
    this.#tell('people');
    if (!known) this.#tell('note', { key: 'panel.waits', person: this.queue.get(message.user_id), quiet: true });
  }

  #admitted({ user_id: userId }) {
    if (userId && userId !== this.self?.userId) {
      const person = this.queue.get(userId);
      if (this.queue.delete(userId)) this.#tell('note', { key: 'panel.admitted', person, quiet: true });
      return this.#tell('people');
    }
    return this.#enter();
  }

  #enter() {
    clearTimeout(this.#stepBack);
    if (this.stage === 'call') return;
    this.stage = 'call';
    this.#tell('call');
  }

  #existing(list) {
    const listed = new Set(list.map((entry) => entry.user_id));
    for (const userId of [...this.people.keys()]) {
      if (listed.has(userId)) continue;
      clearTimeout(this.#returning.get(userId));
      if (!this.#connection.alive(userId)) this.#forget(userId);
      else this.#returning.set(userId, setTimeout(() => this.#forget(userId), RETURN_MS));
    }
    for (const entry of list) {
      this.#know(entry);
      this.#connection.found(entry, this.self.resumed);
    }
    this.#tell('people');
  }

  #joined(entry) {
    const known = this.people.has(entry.user_id);
    this.#know(entry);
    this.queue.delete(entry.user_id);
    if (!this.#connection.alive(entry.user_id)) {
      if (known) this.#connection.left(entry.user_id);
      this.#connection.joined(entry);
    }
    if (!known) this.#tell('note', { key: 'call.joined', who: entry.user_id });
    this.#tell('people');
  }

  #know({ user_id: userId, name, role, muted, camera_off: cameraOff, screen, publishes }) {
    clearTimeout(this.#returning.get(userId));
    this.#returning.delete(userId);
    const before = this.people.get(userId) ?? { state: 'connecting', stream: null, poor: false };
    this.people.set(userId, {
      ...before,
      userId,
      name,
      role,
      muted: Boolean(muted),
      cameraOff: Boolean(cameraOff),
      screen: Boolean(screen ?? before.screen),
      publishes: publishes !== false,
    });
  }

  #left({ user_id: userId, cause }) {
    const key = { removed: 'call.wasRemoved', lost: 'call.vanished' }[cause] ?? 'call.left';
    const person = this.people.get(userId) ?? this.queue.get(userId);
    if (person) this.#tell('note', { key, person });
    this.queue.delete(userId);
    this.#forget(userId);
  }

  #forget(userId) {
    clearTimeout(this.#returning.get(userId));
    this.#returning.delete(userId);
    this.#connection?.left(userId);
    this.people.delete(userId);
    this.#tell('people');
  }

  /** Only the service says whether a participant publishes; until it does, do not connect to them. */
  #negotiate(message) {
    const person = this.people.get(message.sender_id);
    if (person) this.#connection?.handle(message, person);
  }

  #muteStatus({ sender_id: userId, data }) {
    const before = this.people.get(userId);
    if (!before || !data) return;
    const muted = Boolean(data.muted);
    this.#update(userId, { muted, cameraOff: Boolean(data.camera_off), screen: Boolean(data.screen) });
    if (muted !== before.muted) this.#tell('note', { key: muted ? 'call.muted' : 'call.unmuted', who: userId, quiet: true });
  }

  #poor(userId, poor) {
    this.#update(userId, { poor });
    if (poor) this.#tell('note', { key: 'call.poor.name', who: userId, quiet: true });
  }

  #update(userId, changes) {
    const person = this.people.get(userId);
    if (!person) return;
    this.people.set(userId, { ...person, ...changes });
    this.#tell('people');
  }

  /** Show an error only if it answers something the user just did. */
  #refused({ code }) {
    if (Date.now() - this.#acted > 3000) return;
    this.#acted = 0;
    this.#endedByUs = false;
    this.#tell('note', { key: code === 'internal' ? 'call.refused.fault' : 'call.refused', loud: true });
  }

  #mediaChanged() {
    if (!this.#connection) return;
    for (const kind of ['audio', 'video']) this.#connection.setTrack(kind, this.#media.outgoing(kind));
    this.#tellStatus();
  }

  #tellStatus({ again = false } = {}) {
    const status = this.#media.status;
    const text = JSON.stringify(status);
    if (!this.self?.publishes || (text === this.#told && !again)) return;
    if (this.#signalling.send('mute-status', { data: status })) this.#told = text;
  }

  #end(why, cause) {
    if (this.stage === 'over') return;
    this.stage = 'over';
    clearTimeout(this.#stepBack);
    this.#returning.forEach(clearTimeout);
    this.#connection?.close();
    this.#signalling.close();
    this.#media.stop();
    const kind = why === 'ended' ? (this.#endedByUs ? 'ended-by-you' : (CAUSES[cause] ?? 'ended')) : why;
    this.#tell('over', kind);
  }

  #tell(event, detail) {
    this.dispatchEvent(new CustomEvent(event, { detail }));
  }
}
