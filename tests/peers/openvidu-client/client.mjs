// OpenVidu's own client against the stub of tests/conformance/sfu/openvidu_stub.rs: `node client.mjs <url> <secret>`.
import assert from 'node:assert/strict';
import { OpenVidu, OpenViduRole } from 'openvidu-node-client';

const [url, secret] = process.argv.slice(2);
const status = (expected) => (error) => {
  assert.equal(error.message, String(expected));
  return true;
};

const openvidu = new OpenVidu(url, secret);
const session = await openvidu.createSession({ customSessionId: 'room_1' });
assert.equal(session.sessionId, 'room_1');
// The client takes 409 for the session that is there.
assert.equal((await openvidu.createSession({ customSessionId: 'room_1' })).sessionId, 'room_1');
await assert.rejects(openvidu.createSession({ customSessionId: 'not a room' }), status(400));

const connection = await session.createConnection({ role: OpenViduRole.MODERATOR, data: 'something', record: false });
assert.match(connection.connectionId, /^con_/);
assert.match(connection.token, /^wss:\/\/.*sessionId=room_1&token=tok_/);
assert.equal(connection.role, 'MODERATOR');
assert.equal(connection.serverData, 'something');
assert.equal(connection.connectionProperties.record, false);
assert.equal(connection.status, 'pending');
const other = await session.createConnection({ role: OpenViduRole.SUBSCRIBER });
assert.notEqual(other.connectionId, connection.connectionId);
await assert.rejects(session.createConnection({ role: 'KING' }), status(400));

// A client that made nothing itself learns all from the server. It asks for pending connections, too.
const elsewhere = new OpenVidu(url, secret);
assert.equal(await elsewhere.fetch(), true);
assert.deepEqual(elsewhere.activeSessions.map((one) => one.sessionId), ['room_1']);
assert.equal(elsewhere.activeSessions[0].connections.length, 2);
await session.fetch();
assert.deepEqual(session.connections.map((one) => one.connectionId).sort(), [connection.connectionId, other.connectionId].sort());

await session.forceDisconnect(other);
await assert.rejects(session.forceDisconnect('con_none'), status(404));
await session.close();
await assert.rejects(session.close(), status(404));
await assert.rejects(session.createConnection({}), status(404));
await assert.rejects(new OpenVidu(url, 'another secret').fetch(), status(401));
console.log('all as expected');
