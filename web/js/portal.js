// Connects the page with the portal that shows it in a frame, if one does.

import { Embedding } from './embedding.js';

/** `speak` changes the page's language, and says whether it could. `obstacle`: why this browser cannot hold a call, if so. */
export function connect({ media, speak, obstacle, leave }) {
  const embedding = new Embedding();
  let told = '';
  embedding.addEventListener('mute', () => media.setMuted(true));
  embedding.addEventListener('leave', leave);
  embedding.addEventListener('set-language', async ({ detail: { language } }) => {
    if (!(await speak(String(language)))) embedding.tell('error', { code: 'unknown-language' });
  });
  if (obstacle) embedding.tell('error', { code: obstacle });
  else embedding.tell('ready', { language: document.documentElement.lang });

  /** Tells of a session from now on. */
  return function follow(session) {
    const count = () => {
      const fields = { count: session.stage === 'call' ? session.people.size + 1 : 0, waiting: session.queue.size };
      const text = JSON.stringify(fields);
      if (text !== told) embedding.tell('participants', fields);
      told = text;
    };
    session.addEventListener('waiting', () => embedding.tell('waiting', { reason: session.reason || 'host-absent' }));
    session.addEventListener('call', () => {
      embedding.tell('joined');
      count();
    });
    session.addEventListener('people', count);
    session.addEventListener('over', ({ detail: why }) => {
      count();
      embedding.tellOver(why);
    });
  };
}
