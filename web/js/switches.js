// The microphone's and the camera's switch, on the waiting screen and in the call: what they show, and what pressing them does.

import { face } from './dom.js';

const isRefused = (media, kind) => !media[kind] && String(media.problems[kind]).startsWith('refused');

/** Shows the state of both. A device that was refused says so, as a switch would only seem broken. */
export function showSwitches({ texts, media, mute, camera }) {
  const silent = media.muted || !media.audio;
  const [noMicrophone, noCamera] = [isRefused(media, 'audio'), isRefused(media, 'video') && !media.cameraOff];
  face(mute, silent ? 'mic-off' : 'mic', texts.text(noMicrophone ? 'call.microphone.none' : silent ? 'call.unmute' : 'call.mute'));
  face(camera, media.video ? 'cam' : 'cam-off', texts.text(noCamera ? 'call.camera.none' : media.video ? 'call.cameraOff' : 'call.cameraOn'));
  for (const [button, off] of [[mute, silent], [camera, !media.video]]) button.classList.toggle('off', off);
  const { interrupted } = media;
  for (const [button, isWrong] of [[mute, noMicrophone || interrupted.audio], [camera, noCamera || interrupted.video]]) button.dataset.badge = isWrong ? '!' : '';
}

/** Turns the microphone on or off; without one, asks for it. Returns whether there is one. */
export async function switchMicrophone(media) {
  if (media.audio) {
    media.setMuted(!media.muted);
    return true;
  }
  media.muted = false;
  await media.acquire();
  return Boolean(media.audio);
}

/** Turns the camera on or off. Returns whether that worked. */
export async function switchCamera(media) {
  const on = !media.video;
  await media.setCamera(on);
  return Boolean(media.video) === on || !media.problems.video;
}

/** After a switch did not work: shows how to allow the device, or tells with `tell` what is wrong. */
export async function explain({ texts, media, kind, tell }) {
  const device = kind === 'audio' ? 'microphone' : 'camera';
  const what = media.problems[kind];
  const key = [`failure.${what}-${device}.title`, `failure.${what}.title`].find((candidate) => texts.has(candidate));
  if (!key) return;
  if (isRefused(media, kind)) {
    const help = await import('./help.js').catch(() => null);
    if (help) return void help.openHelp({ texts, media, kind });
  }
  tell(texts.text(key));
}
