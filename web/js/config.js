// What the server wrote into the page. Nothing in it is secret.

/** A placeholder that this server does not know stays as it was; that counts as empty. */
const filled = (value) => (value && !value.startsWith('{{') ? value : '');

export function config() {
  const { base, assets, session, slot, name, role, askName } = document.documentElement.dataset;
  const path = `${filled(base)}/join/${encodeURIComponent(session)}`;
  const query = new URLSearchParams({ p: slot });
  const socket = new URL(`${path}/ws?${query}`, location.href);
  socket.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return {
    assets: filled(assets),
    slot,
    page: `${path}?${query}`,
    naming: `${path}/name?${query}`,
    socket: socket.href,
    name: filled(name),
    role: filled(role),
    askName: filled(askName) === 'true',
  };
}
