// The only part of the page that knows how participants connect. Today they connect to each other, with the given STUN and
// TURN servers. An SFU is another value of `media`, whose object has Mesh's interface.

import { Mesh } from './peers.js';

/** The connection data of `connected`, or `null` if this page is too old to understand it. */
function given({ media, ice_servers: iceServers, ice_policy: policy }) {
  if (media !== 'builtin') return null;
  return { iceServers: iceServers ?? [], iceTransportPolicy: policy === 'relay' ? 'relay' : 'all' };
}

/** Creates a connection to the others from that data; `null` if this page cannot. */
export function connect(connected, { publishes, send, track, reachable }) {
  const configuration = given(connected);
  if (!configuration) return null;
  return new Mesh({ userId: connected.user_id, publishes, configuration, send, track, reachable });
}

/** Takes new data from the service, such as renewed credentials. */
export function renew(connection, connected) {
  const configuration = given(connected);
  if (configuration) connection.configure(configuration);
}
