// Which camera, microphone and speaker to use. What was chosen is remembered in this browser: ids and names of devices, nothing else.

export const DEVICE = { audio: 'microphone', video: 'camera' };

const KEY = 'video-session:devices';
const KINDS = ['audio', 'video', 'speaker'];
/** Names of devices are short; what is longer was not written by this page. */
const TEXT_MAX = 300;

/**
 * The chosen device among those that are there, or `undefined`. Some browsers give devices new ids, so its name will do, too, if no
 * other device has it.
 */
export function find(devices, { id, label }) {
  const same = devices.find(({ deviceId }) => deviceId === id);
  if (same || !id || !label) return same;
  const named = devices.filter((device) => device.label === label);
  return named.length === 1 ? named[0] : undefined;
}

const isText = (value) => typeof value === 'string' && value.length <= TEXT_MAX;

/** What was chosen the last time: `{id, label}` by kind; both empty if nothing was. */
export function recall() {
  let stored = null;
  try {
    stored = JSON.parse(localStorage.getItem(KEY));
  } catch {
    // The browser stores nothing, or something else is stored there.
  }
  return Object.fromEntries(
    KINDS.map((kind) => {
      const { id, label } = stored?.[kind] ?? {};
      return [kind, isText(id) && isText(label) ? { id, label } : { id: '', label: '' }];
    }),
  );
}

export function remember(choice) {
  try {
    localStorage.setItem(KEY, JSON.stringify(choice));
  } catch {
    // The browser stores nothing, so the choice holds for this page only.
  }
}

/** Fills a `<select>` with devices. Devices have no names until the browser allows one. */
export function list(select, devices, current, texts) {
  const options = devices.map(({ deviceId, label }, index) => new Option(label || texts.text('ready.device', { number: index + 1 }), deviceId, false, deviceId === current));
  select.replaceChildren(...options);
}
