// When the appointment is and with whom, on the first screen; and for how long the participant was in the call.

import { byId } from './dom.js';

const MINUTE_MS = 60_000;
const DAY_MS = 24 * 60 * MINUTE_MS;

const languageOf = (tag) => tag.split('-')[0].toLowerCase();

/** The page's language as it is written here: as the backend asked for it, else as the browser's user writes it. */
export function regional(language, asked = '') {
  const isSame = (tag) => tag && languageOf(tag) === languageOf(language);
  try {
    return Intl.getCanonicalLocales([asked, ...navigator.languages].find(isSame) ?? language)[0];
  } catch {
    // The tag is well-formed, but repeats a part.
    return language;
  }
}

/** "today at 15:30", or the whole date, by this device's clock and time zone. */
function when(time, locale) {
  const midnight = (date) => new Date(date.getFullYear(), date.getMonth(), date.getDate()).getTime();
  const days = Math.round((midnight(time) - midnight(new Date())) / DAY_MS);
  const clock = new Intl.DateTimeFormat(locale, { timeStyle: 'short' }).format(time);
  if (Math.abs(days) <= 1) return `${new Intl.RelativeTimeFormat(locale, { numeric: 'auto' }).format(days, 'day')}, ${clock}`;
  return new Intl.DateTimeFormat(locale, { dateStyle: 'full', timeStyle: 'short' }).format(time);
}

export function showAppointment({ texts, config }) {
  const startsAt = new Date(config.startsAt);
  const time = byId('appointment-time');
  time.hidden = Number.isNaN(startsAt.getTime());
  if (!time.hidden) time.textContent = texts.text('ready.appointment', { time: when(startsAt, regional(texts.language, config.locale)) });
  const isNamed = Boolean(config.doctor) && config.role !== 'doctor';
  for (const doctor of ['appointment-doctor', 'waiting-doctor'].map(byId)) {
    doctor.hidden = !isNamed;
    if (isNamed) doctor.textContent = texts.text('ready.with', { name: config.doctor });
  }
  byId('appointment').hidden = time.hidden && !isNamed;
}

/** "You were in the call for 1 hour, 5 minutes." */
export function lasted(ms, { texts, config }) {
  const minutes = Math.round(ms / MINUTE_MS);
  if (minutes < 1) return texts.text('end.lasted.short');
  const locale = regional(texts.language, config.locale);
  const said = [[Math.floor(minutes / 60), 'hour'], [minutes % 60, 'minute']]
    .filter(([count]) => count > 0)
    .map(([count, unit]) => new Intl.NumberFormat(locale, { style: 'unit', unit, unitDisplay: 'long' }).format(count));
  return texts.text('end.lasted', { time: new Intl.ListFormat(locale, { type: 'unit' }).format(said) });
}
