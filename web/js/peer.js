// One participant who connects to us directly, by one RTCPeerConnection at a time.
//
// docs/signalling.md defines who makes the offer. A reloaded page, or a second one that took over, is the same participant
// to the service and is not announced. The others recognise it by the session id in its SDP, which is unique to an
// RTCPeerConnection, and create a new connection to it.

import { Quality } from './quality.js';

const KINDS = ['audio', 'video'];
/** The camera beside a screen is small. */
const BESIDE = { scaleResolutionDownBy: 2, maxBitrate: 400_000 };
const EXPECT_MS = 4000;
const SETTLE_MS = 10_000;
const RESTARTS_MAX = 2;
// After this time without a connection, the page tells the user and keeps trying.
const STUCK_MS = 20_000;
// The impolite side restarts first, so that both rarely restart at once.
const RESTART_MS = { disconnected: { impolite: 1500, polite: 4000 }, failed: { impolite: 0, polite: 2500 } };

const sessionOf = (sdp) => /^o=\S+ (\S+)/m.exec(sdp)?.[1] ?? '';

/** `mesh` is what all peer connections of this page share. */
export class Peer {
  stream = new MediaStream();
  /** Their camera, once they have shown a screen beside it. */
  beside = null;
  /** Names what we send, so that sound and picture stay together at the receiver. */
  #sent = new MediaStream();
  #sentBeside = new MediaStream();
  /** Whether their page can take a camera beside a screen: it says so with its offers and answers. */
  #takesBeside = false;
  #pc = null;
  #theirSession = '';
  #pending = [];
  #chain = Promise.resolve();
  #timer = 0;
  #restarts = 0;
  #quality = new Quality();
  #closed = false;
  #released = false;
  #aliveAt = Date.now();

  constructor(mesh, userId, theyPublish) {
    this.mesh = mesh;
    this.userId = userId;
    this.theyPublish = theyPublish;
    this.polite = mesh.userId < userId;
    this.state = 'connecting';
  }

  get alive() {
    return this.#pc?.connectionState === 'connected';
  }

  /** How loud they are, as their browser says with each packet. */
  get level() {
    const [source] = this.#transceiver('audio')?.receiver.getSynchronizationSources?.() ?? [];
    return source?.audioLevel ?? 0;
  }

  /** Whether they still want what we send. */
  get serves() {
    const open = this.alive || this.#pc?.connectionState === 'disconnected';
    return open && this.#pc.getTransceivers().some(({ currentDirection }) => ['sendrecv', 'sendonly'].includes(currentDirection));
  }

  /** Waits for their offer; if none comes, we make one. */
  awaitOffer() {
    this.#schedule(EXPECT_MS, () => !this.#theirSession && this.offer());
  }

  knows(sdp) {
    return this.#theirSession !== '' && typeof sdp === 'string' && sessionOf(sdp) === this.#theirSession;
  }

  /** Makes an offer, with new ICE credentials if there is a connection already. */
  offer({ rebuild = false } = {}) {
    return this.#enqueue(async () => {
      if (rebuild || !this.#pc || this.#pc.connectionState === 'closed') this.#build(true);
      const pc = this.#pc;
      const restart = pc.remoteDescription !== null;
      await pc.setLocalDescription(await pc.createOffer({ iceRestart: restart }));
      this.#tell(pc.localDescription);
      this.#watch();
    });
  }

  /** Receives nothing from them any more, and tells them so. They may still receive from us. */
  release() {
    if (this.#released) return;
    this.#released = true;
    this.#enqueue(async () => {
      // Until they are connected, an offer or answer of ours is still to come, and says the same.
      if (!this.#pc?.remoteDescription || this.#pc.signalingState === 'closed') return;
      for (const transceiver of this.#pc.getTransceivers()) transceiver.direction = this.#direction();
      await this.#pc.setLocalDescription(await this.#pc.createOffer());
      this.#tell(this.#pc.localDescription);
    });
  }

  handle({ type, data }) {
    if (!data) return;
    if (data.beside === true) this.#takesBeside = true;
    if (type === 'ice-candidate') this.#enqueue(() => this.#candidate(data));
    else if (typeof data.sdp === 'string') this.#enqueue(() => (type === 'offer' ? this.#offered(data.sdp) : this.#answered(data.sdp)));
  }

  setTrack(kind, track) {
    if (kind === 'beside') return this.#enqueue(() => this.#setBeside());
    return this.#enqueue(async () => {
      const sender = this.#transceiver(kind)?.sender;
      if (sender && sender.track !== track) await sender.replaceTrack(track);
    });
  }

  /** Signalling is back: messages sent in the meantime may be lost. */
  resume() {
    if (!this.#pc) this.offer();
    else if (!this.alive || this.#pc.signalingState !== 'stable') this.#restart();
  }

  configure(configuration) {
    this.#pc?.setConfiguration(configuration);
  }

  async sample() {
    // Without the service nothing can be tried, and that is told.
    if (this.alive || !this.mesh.reachable) this.#aliveAt = Date.now();
    else if (Date.now() - this.#aliveAt > STUCK_MS) this.#setState('stuck');
    if (!this.alive) return;
    this.#quality.take(await this.#pc.getStats());
    this.mesh.emit('quality', this.userId, this.#quality.value);
  }

  close() {
    this.#closed = true;
    clearTimeout(this.#timer);
    this.#drop();
  }

  // --- one thing after the other ------------------------------------------------------------------------------------

  #enqueue(step) {
    this.#chain = this.#chain.then(() => (this.#closed ? undefined : step())).catch(() => {
      // A message that cannot be applied is stale or broken. Either way the watch creates a new connection.
      if (!this.#closed && !this.alive) this.#watch();
    });
    return this.#chain;
  }

  #send(type, data) {
    this.mesh.send(type, { target_id: this.userId, data });
  }

  /** `data` repeats the type: the pages of an older service take it for the whole description. */
  #tell({ type, sdp }) {
    this.#send(type, { type, sdp, beside: true });
  }

  async #offered(sdp) {
    const session = sessionOf(sdp);
    if (this.#pc && this.#pc.signalingState === 'have-local-offer') {
      if (!this.polite) {
        // They may have missed our offer, so send it again.
        this.#tell(this.#pc.localDescription);
        return;
      }
      // The first offer has no result yet; starting over is simpler than a rollback.
      if (!this.#theirSession) this.#drop();
    }
    if (this.#theirSession && this.#theirSession !== session) this.#drop();
    if (!this.#pc) this.#build(false);
    const pc = this.#pc;
    await pc.setRemoteDescription({ type: 'offer', sdp });
    this.#theirSession = session;
    for (const kind of KINDS) {
      const transceiver = this.#transceiver(kind);
      if (!transceiver) continue;
      transceiver.direction = this.#direction();
      transceiver.sender.setStreams?.(this.#sent);
      const track = this.mesh.track(kind);
      if (transceiver.sender.track !== track) await transceiver.sender.replaceTrack(track);
    }
    const beside = this.#transceiver('beside');
    if (beside) beside.direction = this.#direction(Boolean(this.mesh.track('beside')));
    await this.#applyPending();
    await pc.setLocalDescription(await pc.createAnswer());
    this.#tell(pc.localDescription);
    this.#watch();
    await this.#setBeside();
  }

  async #answered(sdp) {
    if (this.#pc?.signalingState !== 'have-local-offer') return;
    const session = sessionOf(sdp);
    if (this.#theirSession && this.#theirSession !== session) {
      this.offer({ rebuild: true });
      return;
    }
    this.#theirSession = session;
    await this.#pc.setRemoteDescription({ type: 'answer', sdp });
    await this.#applyPending();
    await this.#setBeside();
  }

  /** Sends the camera while a screen takes the picture's place. The connection is only changed for it the first time. */
  async #setBeside() {
    const track = this.mesh.track('beside');
    let transceiver = this.#transceiver('beside');
    if (transceiver && transceiver.sender.track !== track) await transceiver.sender.replaceTrack(track);
    const isSent = ['sendrecv', 'sendonly'].includes(transceiver?.currentDirection);
    if (!track || isSent || !this.#takesBeside || this.#pc?.signalingState !== 'stable' || !this.#pc.remoteDescription) return;
    if (transceiver) transceiver.direction = this.#direction();
    else transceiver = this.#pc.addTransceiver(track, { direction: this.#direction(), streams: [this.#sentBeside], sendEncodings: [BESIDE] });
    await this.#pc.setLocalDescription(await this.#pc.createOffer());
    this.#tell(this.#pc.localDescription);
    this.#watch();
  }

  async #candidate({ candidate, sdpMLineIndex, sdpMid }) {
    if (!candidate) return;
    this.#pending.push({ candidate, sdpMLineIndex, sdpMid });
    if (this.#pc?.remoteDescription) await this.#applyPending();
  }

  async #applyPending() {
    // A candidate of an ignored offer is rejected, as it should be.
    for (const candidate of this.#pending.splice(0)) await this.#pc.addIceCandidate(candidate).catch(() => {});
  }

  /** Of two pictures, the second is the camera beside the screen. */
  #transceiver(kind) {
    const [track, at] = kind === 'beside' ? ['video', 1] : [kind, 0];
    return this.#pc?.getTransceivers().filter((transceiver) => transceiver.receiver.track.kind === track && !transceiver.stopped)[at];
  }

  // --- the connection itself ----------------------------------------------------------------------------------------

  #build(offering) {
    this.#drop();
    const pc = new RTCPeerConnection(this.mesh.configuration);
    this.#pc = pc;
    this.#quality = new Quality();
    const current = (handler) => (event) => pc === this.#pc && handler(event);
    pc.addEventListener('icecandidate', current(({ candidate }) => {
      if (candidate?.candidate) {
        const { sdpMLineIndex, sdpMid } = candidate;
        this.#send('ice-candidate', { candidate: candidate.candidate, sdpMLineIndex, sdpMid });
      }
    }));
    pc.addEventListener('track', current(({ track, transceiver }) => {
      if (!this.theyPublish) return;
      if (track.kind === 'video' && transceiver !== this.#transceiver('video')) return this.#showBeside(new MediaStream([track]));
      for (const old of this.stream.getTracks()) if (old.kind === track.kind && old !== track) this.stream.removeTrack(old);
      this.stream.addTrack(track);
      this.mesh.emit('stream', this.userId, this.stream);
      return undefined;
    }));
    pc.addEventListener('connectionstatechange', current(() => this.#changed(pc.connectionState)));
    if (!offering) return;
    for (const kind of KINDS) {
      pc.addTransceiver(this.mesh.track(kind) ?? kind, { direction: this.#direction(), streams: [this.#sent] });
    }
  }

  #showBeside(stream) {
    this.beside = stream;
    this.mesh.emit('beside', this.userId, stream);
  }

  /** Receives nothing from a participant who does not publish, whatever their SDP says. */
  #direction(sends = true) {
    if (this.theyPublish && !this.#released) return this.mesh.publishes && sends ? 'sendrecv' : 'recvonly';
    return this.mesh.publishes && sends ? 'sendonly' : 'inactive';
  }

  #drop() {
    const pc = this.#pc;
    this.#pc = null;
    this.#theirSession = '';
    if (!pc) return;
    this.#pending = [];
    pc.close();
    for (const track of this.stream.getTracks()) this.stream.removeTrack(track);
    if (this.beside) this.#showBeside(null);
  }

  #changed(state) {
    if (state === 'connected') {
      this.#restarts = 0;
      clearTimeout(this.#timer);
      this.#setState('connected');
    } else if (state === 'disconnected' || state === 'failed') {
      // Report a missing connection once, not for each failed attempt.
      if (this.state === 'connected') this.#aliveAt = Date.now();
      if (this.state !== 'stuck') this.#setState('interrupted');
      this.mesh.emit('doubt', this.userId);
      this.#schedule(RESTART_MS[state][this.polite ? 'polite' : 'impolite'], () => !this.alive && this.#restart());
    }
  }

  #restart() {
    if (!this.mesh.reachable) return;
    // A participant who does not publish makes no offers: the other side restarts, unless that fails.
    if (!this.mesh.publishes && this.#restarts === 0) {
      this.#restarts += 1;
      this.#watch();
      return;
    }
    this.#restarts += 1;
    this.offer({ rebuild: this.#restarts > RESTARTS_MAX });
  }

  #watch() {
    this.#schedule(SETTLE_MS, () => !this.alive && this.#restart());
  }

  #schedule(wait, step) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => !this.#closed && step(), wait);
  }

  #setState(state) {
    if (this.state === state) return;
    this.state = state;
    this.mesh.emit('state', this.userId, state);
  }
}
