// livekit-client, which the page loads only when it is needed.

let library = null;
let failures = 0;

/** Loads the client once. Browsers remember that an address could not be loaded, so each attempt has its own. */
export async function load() {
  const query = failures ? `?attempt=${failures}` : '';
  library ??= import(`../livekit-client.js${query}`).then(() => {
    const client = globalThis.LivekitClient;
    client.setLogLevel('silent');
    return client;
  });
  try {
    return await library;
  } catch (error) {
    library = null;
    failures += 1;
    throw error;
  }
}
