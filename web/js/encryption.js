// Hands the keys of a call to livekit-client, which encrypts and decrypts frames in a worker.

const WORKER = new URL('../livekit-e2ee-worker.js', import.meta.url);

/** livekit-client's options for a room, and `close`, which ends the worker. */
export function encryption({ BaseKeyProvider }, keys) {
  class Provider extends BaseKeyProvider {
    constructor() {
      // Whoever lacks a key asks for it, so none is guessed, and none is given up.
      super({ keySize: 256, ratchetWindowSize: 0, failureTolerance: -1 });
    }

    set({ userId, index, key }) {
      this.onSetEncryptionKey(key, userId, index);
    }

    /** The client hands the keys of this list over again whenever it connects. The last one is our own. */
    getKeys() {
      return keys.all.map(({ userId, index, key }) => ({ key, participantIdentity: userId, keyIndex: index }));
    }

    /** The client takes the index of whichever participant's key came last for ours. */
    getLatestManuallySetKeyIndex() {
      return keys.ownIndex;
    }
  }
  const [keyProvider, worker] = [new Provider(), new Worker(WORKER)];
  const hand = ({ detail }) => keyProvider.set(detail);
  keys.addEventListener('key', hand);
  const close = () => {
    keys.removeEventListener('key', hand);
    worker.terminate();
  };
  return { options: { keyProvider, worker }, close };
}
