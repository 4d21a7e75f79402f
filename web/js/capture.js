// Opening camera and microphone, and each way in which that can fail.

import { DEVICE } from './devices.js';

/** Why this page cannot ask for a camera and a microphone at all, or `null`. */
export function findObstacle() {
  if (!window.isSecureContext) return 'insecure';
  if (!navigator.mediaDevices?.getUserMedia) return 'unsupported';
  const policy = document.permissionsPolicy ?? document.featurePolicy;
  if (policy && !policy.allowsFeature('camera') && !policy.allowsFeature('microphone')) return 'blocked';
  return null;
}

/** The kind of a getUserMedia failure; its names differ between browsers and versions. */
export function classify(error) {
  switch (error?.name) {
    case 'NotAllowedError':
    case 'PermissionDeniedError':
    case 'SecurityError':
      return /system/i.test(error.message) ? 'refused-system' : 'refused';
    case 'NotFoundError':
    case 'DevicesNotFoundError':
      return 'missing';
    case 'NotReadableError':
    case 'TrackStartError':
    case 'AbortError':
      return 'busy';
    case 'OverconstrainedError':
    case 'ConstraintNotSatisfiedError':
      return 'overconstrained';
    default:
      return 'failed';
  }
}

async function permission(kind) {
  try {
    return (await navigator.permissions.query({ name: DEVICE[kind] })).state;
  } catch {
    return 'unknown';
  }
}

/** Calls getUserMedia; if the constraints cannot be met, without the chosen devices, and then without any constraint. */
async function open(constraints) {
  const entries = Object.entries(constraints);
  const anyDevice = entries.map(([kind, { deviceId, ...rest }]) => [kind, rest]);
  const attempts = [constraints, Object.fromEntries(anyDevice), Object.fromEntries(entries.map(([kind]) => [kind, true]))];
  for (;;) {
    try {
      return await navigator.mediaDevices.getUserMedia(attempts.shift());
    } catch (error) {
      if (classify(error) !== 'overconstrained' || !attempts.length) throw error;
    }
  }
}

/**
 * Opens camera and microphone together, so that the browser asks once; if that fails, each by itself, so that one that
 * works is not lost to one that does not. Returns the tracks, and what is wrong with each kind.
 */
export async function openEach(constraints) {
  const kinds = Object.keys(constraints);
  const got = { tracks: {}, problems: {} };
  const keep = (stream) => {
    for (const track of stream.getTracks()) got.tracks[track.kind] = track;
  };
  try {
    keep(await open(constraints));
    return got;
  } catch (error) {
    const what = classify(error);
    for (const kind of kinds) got.problems[kind] = what;
    if (kinds.length === 1) return got;
    // The user denied both; do not ask for each one again.
    if (what.startsWith('refused')) {
      const states = await Promise.all(kinds.map(permission));
      if (states[0] === states[1]) return got;
    }
  }
  for (const kind of kinds) {
    try {
      keep(await open({ [kind]: constraints[kind] }));
      got.problems[kind] = null;
    } catch (error) {
      got.problems[kind] = classify(error);
    }
  }
  return got;
}

/** The catalogue's keys for the failures: `busy`, `missing-camera`… There may be two, or none. */
export function failures(problems) {
  const { audio, video } = problems;
  if (audio && audio === video) return [audio];
  const named = (kind, what) => (['insecure', 'unsupported', 'blocked', 'refused-system'].includes(what) ? what : `${what}-${DEVICE[kind]}`);
  return [video && named('video', video), audio && named('audio', audio)].filter(Boolean);
}
