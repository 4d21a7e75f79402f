// A client whose types come from the description: what the description gets wrong does not compile, or fails when it runs.
import createClient from 'openapi-fetch';
import type { components, paths } from './api.js';

declare const process: { env: Record<string, string> };

const { REST, INTERNAL_SECRET } = process.env;
const api = createClient<paths>({ baseUrl: REST, headers: { 'x-internal-secret': INTERNAL_SECRET } });

function check(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(what);
}

const created = await api.POST('/v1/sessions', {
  body: { appointmentId: 'appt-1', doctorId: 'dr-lee', patientId: 'pat-7', labels: { clinic: 'north' } },
});
const session: components['schemas']['Session'] | undefined = created.data?.session;
check(session !== undefined, 'a session');
check(session.state === 'SESSION_STATE_CREATED', `${session.state}`);

const path = { session_id: session.sessionId };
const joined = await api.POST('/v1/sessions/{session_id}:join', {
  params: { path },
  body: { role: 'ROLE_DOCTOR', userId: 'dr-lee' },
});
check(joined.data?.joinUrl.includes(session.sessionId) ?? false, 'a link');

const listed = await api.GET('/v1/sessions', { params: { query: { userId: 'dr-lee', pageSize: 10 } } });
check(listed.data?.sessions.length === 1, 'one session');

const refused = await api.POST('/v1/sessions/{session_id}:join', {
  params: { path },
  body: { role: 'ROLE_PATIENT', userId: 'dr-lee' },
});
check(refused.response.status === 403, 'refused');
check(refused.error?.details[0]?.reason === 'NOT_A_PARTICIPANT', 'with a reason');
