// A backend in Node, with nothing but its own fetch: creates a session, joins it, watches it, ends it.
import assert from 'node:assert/strict';

const { REST, INTERNAL_SECRET } = process.env;
const headers = { authorization: `Bearer ${INTERNAL_SECRET}`, 'content-type': 'application/json' };

async function call(verb, path, body) {
  const answer = await fetch(`${REST}${path}`, { method: verb, headers, body: body && JSON.stringify(body) });
  return { status: answer.status, json: await answer.json() };
}

/** The events of a stream, as they come. */
async function* events(path) {
  const answer = await fetch(`${REST}${path}`, { headers });
  assert.equal(answer.status, 200);
  let text = '';
  for await (const bytes of answer.body.pipeThrough(new TextDecoderStream())) {
    text += bytes;
    const parts = text.split('\n\n');
    text = parts.pop();
    for (const part of parts) {
      const data = part.split('\n').find((line) => line.startsWith('data:'));
      if (data) yield JSON.parse(data.slice('data:'.length));
    }
  }
}

const created = await call('POST', '/v1/sessions', { appointmentId: 'appt-1', doctorId: 'dr-lee', patientId: 'pat-7' });
assert.equal(created.status, 200);
const { sessionId } = created.json.session;
const seen = [];
const watching = (async () => {
  for await (const { event } of events(`/v1/sessions/${sessionId}:watch`)) {
    seen.push(event.type);
    if (event.type === 'session.ended') return;
  }
})();
const joined = await call('POST', `/v1/sessions/${sessionId}:join`, { role: 'ROLE_DOCTOR', userId: 'dr-lee' });
assert.match(joined.json.joinUrl, /\?token=/);
const wrong = await call('POST', `/v1/sessions/${sessionId}:join`, { role: 'ROLE_DOCTOR', userId: 'pat-7' });
assert.equal(wrong.status, 403);
assert.equal(wrong.json.details[0].reason, 'NOT_A_PARTICIPANT');
assert.equal((await call('POST', `/v1/sessions/${sessionId}:end`, { reason: 'finished' })).status, 200);
await watching;
assert.deepEqual(seen, ['session.created', 'session.joined', 'session.ended']);
process.exit(0);
