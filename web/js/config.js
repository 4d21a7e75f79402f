// Values that the server wrote into the page. None is secret.

export function config() {
  const { base, assets, session, slot, name, publishes, askName, role, locale, clinic, doctor, startsAt } = document.documentElement.dataset;
  const path = `${base}/join/${encodeURIComponent(session)}`;
  const query = new URLSearchParams({ p: slot });
  const socket = new URL(`${path}/ws?${query}`, location.href);
  socket.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
  return {
    assets: assets,
    slot,
    page: `${path}?${query}`,
    naming: `${path}/name?${query}`,
    ice: `${path}/ice?${query}`,
    socket: socket.href,
    name: name,
    role,
    publishes: publishes === 'true',
    askName: askName === 'true',
    /** The language that the backend asked for; may be empty. */
    locale,
    /** Names, as to be shown; may be empty. */
    clinic,
    doctor,
    /** When the appointment begins; may be empty. */
    startsAt,
  };
}
