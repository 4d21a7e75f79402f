// When a track that just arrived has something to show.

// Browsers that cannot tell say only that data arrives; decoding the first frame takes about so long.
const DECODE_MS = 200;

/** Resolves with true when the track's first frame was decoded, or with false after `withinMs`. */
export function firstFrame(track, withinMs) {
  const video = Object.assign(document.createElement('video'), { muted: true, playsInline: true });
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), withinMs);
    const arrived = () => {
      clearTimeout(timer);
      resolve(true);
    };
    if ('requestVideoFrameCallback' in video) {
      video.requestVideoFrameCallback(arrived);
      video.srcObject = new MediaStream([track]);
      video.play().catch(() => {});
    } else if (!track.muted) setTimeout(arrived, DECODE_MS);
    else track.addEventListener('unmute', () => setTimeout(arrived, DECODE_MS), { once: true });
  }).finally(() => {
    video.srcObject = null;
  });
}

/** Makes one stream hold exactly the other's tracks. The elements that show it stay as they are. */
export function copyTracks(from, to) {
  const tracks = from?.getTracks() ?? [];
  for (const track of to.getTracks()) if (!tracks.includes(track)) to.removeTrack(track);
  for (const track of tracks) to.addTrack(track);
}
