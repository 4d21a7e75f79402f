// The one place in the page that knows what a participant is given in order to connect. Today that is addresses of STUN
// and TURN servers, and participants connect to each other; an SFU's address and ticket come in here, as another
// `media` whose object does what Mesh does.

import { Mesh } from './peers.js';

/** What `connected` gives, or `null` if this page is too old to know it. */
function given({ media, ice_servers: iceServers, ice_policy: policy }) {
  if (media !== 'builtin') return null;
  return { iceServers: iceServers ?? [], iceTransportPolicy: policy === 'relay' ? 'relay' : 'all' };
}

/** A connection to the others, by what the service gave; `null` if this page cannot. */
export function connect(connected, { publishes, send, track, reachable }) {
  const configuration = given(connected);
  if (!configuration) return null;
  return new Mesh({ userId: connected.user_id, publishes, configuration, send, track, reachable });
}

/** The service gave something new, such as credentials that are good for longer. */
export function renew(connection, connected) {
  const configuration = given(connected);
  if (configuration) connection.configure(configuration);
}
