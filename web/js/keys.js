// The keys of a call that no server may read. Each page encrypts what it publishes with a key of its own, and gives it to each of the
// others: sealed, so that only their page can open it. The service passes the sealed keys on. docs/signalling.md has the format.
//
// When somebody leaves, everyone who publishes takes a new key, so that a former participant cannot read on.

const CURVE = { name: 'ECDH', namedCurve: 'P-256' };
const KEY_BYTES = 32;
/** As many keys as livekit-client keeps of each participant. */
const INDEXES = 16;
const ASK_MS = 2000;
/** The others get a new key before it is used. */
const SETTLE_MS = 1000;
/** Several who leave at once change the key once. */
const GATHER_MS = 200;
const TEXT_MAX = 400;

const encode = (bytes) => btoa(String.fromCharCode(...new Uint8Array(bytes)));
const decode = (text) => Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
const isText = (value) => typeof value === 'string' && value.length <= TEXT_MAX;

/** Whether this browser can encrypt media from end to end. */
export function canEncrypt() {
  const transforms = 'RTCRtpScriptTransform' in globalThis || 'createEncodedStreams' in (globalThis.RTCRtpSender?.prototype ?? {});
  return transforms && Boolean(globalThis.crypto?.subtle);
}

/** Binds a sealed key to who sent it, to whom, and to its index. */
const context = (from, to, index) => new TextEncoder().encode(JSON.stringify([from, to, index]));

/** Events: `key`, with `{userId, index, key}`, when somebody's key is to be used from now on; the own one, too. */
export class Keys extends EventTarget {
  #userId;
  #publishes;
  #send;
  #pair = crypto.subtle.generateKey(CURVE, false, ['deriveBits']);
  #own = null;
  #inUse = null;
  /** By user id: `entry`, `publicKey`, `secret` shared with it, the `sent` key, and their `keys` by index. */
  #people = new Map();
  #chain = Promise.resolve();
  #asking = 0;
  #gathering = 0;
  #settling = 0;

  constructor({ userId, publishes, send }) {
    super();
    this.#userId = userId;
    this.#publishes = publishes;
    this.#send = send;
    if (publishes) this.renew();
    this.#asking = setInterval(() => this.#askAgain(), ASK_MS);
  }

  /** Every key in use. */
  get all() {
    const others = [...this.#people].flatMap(([userId, { keys }]) => [...keys].map(([index, key]) => ({ userId, index, key })));
    return this.#inUse ? [...others, { userId: this.#userId, ...this.#inUse }] : others;
  }

  /** The index of the own key in use. */
  get ownIndex() {
    return this.#inUse?.index ?? 0;
  }

  /** Somebody is in the call, or may not have heard from us for a while. */
  add(entry) {
    const known = this.#people.get(entry.user_id);
    if (known) known.entry = entry;
    else this.#people.set(entry.user_id, { entry, publicKey: null, secret: null, sent: null, keys: new Map() });
    this.#enqueue(() => this.#write(entry.user_id, true));
  }

  remove(userId) {
    const person = this.#people.get(userId);
    this.#people.delete(userId);
    if (!person?.sent) return;
    clearTimeout(this.#gathering);
    this.#gathering = setTimeout(() => this.renew(), GATHER_MS);
  }

  /** What came from them cannot be read. */
  ask(userId) {
    const person = this.#people.get(userId);
    // The timer asks; that bounds how often.
    if (person) person.unreadable = true;
  }

  /** Takes a new key, and uses it once the others have it. */
  renew() {
    this.#enqueue(async () => {
      const secret = crypto.getRandomValues(new Uint8Array(KEY_BYTES));
      const index = this.#own ? (this.#own.index + 1) % INDEXES : 0;
      this.#own = { secret, index, key: await importKey(secret) };
      for (const userId of this.#people.keys()) await this.#write(userId, false);
      clearTimeout(this.#settling);
      if (!this.#inUse) this.#use();
      else this.#settling = setTimeout(() => this.#use(), SETTLE_MS);
    });
  }

  /** Handles a `key` message. Whatever is wrong with it is ignored: it is asked for again. */
  handle({ sender_id: userId, data }) {
    this.#enqueue(() => this.#read(userId, data ?? {}));
  }

  close() {
    clearInterval(this.#asking);
    clearTimeout(this.#gathering);
    clearTimeout(this.#settling);
    this.#people.clear();
  }

  #enqueue(step) {
    this.#chain = this.#chain.then(step).catch(() => {});
  }

  #use() {
    this.#inUse = { index: this.#own.index, key: this.#own.key };
    this.#announce(this.#userId, this.#inUse);
  }

  #askAgain() {
    for (const [userId, person] of this.#people) {
      if (!this.#lacks(person)) continue;
      person.unreadable = false;
      this.#enqueue(() => this.#write(userId, true));
    }
  }

  #lacks({ entry, keys, unreadable }) {
    return entry.publishes && (keys.size === 0 || unreadable);
  }

  /** Sends our key, if they can open it, and asks for theirs. */
  async #write(userId, asks) {
    const person = this.#people.get(userId);
    if (!person || !(this.#publishes || person.entry.publishes)) return;
    const { publicKey } = await this.#pair;
    const data = { public_key: encode(await crypto.subtle.exportKey('raw', publicKey)), wanted: asks && Boolean(person.entry.publishes) };
    const own = this.#own;
    if (own && person.secret) data.sealed = await this.#seal(userId, person, own);
    if (this.#send('key', { target_id: userId, data }) && data.sealed) person.sent = own;
  }

  async #read(userId, { public_key: publicKey, wanted, sealed }) {
    const person = this.#people.get(userId);
    if (!person || !isText(publicKey)) return;
    if (person.publicKey !== publicKey) {
      const secret = await this.#agree(publicKey);
      Object.assign(person, { publicKey, secret, sent: null });
    }
    if (sealed) await this.#open(userId, person, sealed).catch(() => (person.unreadable = true));
    if (wanted || (this.#own && person.sent !== this.#own)) await this.#write(userId, this.#lacks(person));
  }

  /** The secret that we share with who has that public key. */
  async #agree(publicKey) {
    const { privateKey } = await this.#pair;
    const theirs = await crypto.subtle.importKey('raw', decode(publicKey), CURVE, false, []);
    const bits = await crypto.subtle.deriveBits({ name: 'ECDH', public: theirs }, privateKey, 256);
    const material = await crypto.subtle.importKey('raw', bits, 'HKDF', false, ['deriveKey']);
    const derivation = { name: 'HKDF', hash: 'SHA-256', salt: new Uint8Array(), info: new TextEncoder().encode('video-session media key') };
    return crypto.subtle.deriveKey(derivation, material, { name: 'AES-GCM', length: 256 }, false, ['encrypt', 'decrypt']);
  }

  async #seal(userId, person, { secret, index }) {
    const iv = crypto.getRandomValues(new Uint8Array(12));
    const algorithm = { name: 'AES-GCM', iv, additionalData: context(this.#userId, userId, index) };
    return { index, iv: encode(iv), key: encode(await crypto.subtle.encrypt(algorithm, person.secret, secret)) };
  }

  async #open(userId, person, { index, iv, key }) {
    if (!Number.isInteger(index) || index < 0 || index >= INDEXES || !isText(iv) || !isText(key)) throw new Error('malformed');
    const algorithm = { name: 'AES-GCM', iv: decode(iv), additionalData: context(userId, this.#userId, index) };
    const secret = await crypto.subtle.decrypt(algorithm, person.secret, decode(key));
    if (secret.byteLength !== KEY_BYTES) throw new Error('malformed');
    const imported = await importKey(secret);
    person.keys.set(index, imported);
    this.#announce(userId, { index, key: imported });
  }

  #announce(userId, { index, key }) {
    this.dispatchEvent(new CustomEvent('key', { detail: { userId, index, key } }));
  }
}

/** livekit-client derives the keys for frames from it. */
const importKey = (secret) => crypto.subtle.importKey('raw', secret, 'HKDF', false, ['deriveBits', 'deriveKey']);
