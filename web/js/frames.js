// When a track that just arrived has something to show.

// Browsers that cannot tell say only that data arrives; so long after that, the picture should move.
const DECODE_MS = 500;
// Remove the element later, so that the switch to the track is not delayed.
const AFTERWARDS_MS = 1000;

// A picture that has just begun may falter: wait for as many frames as come in a third of a second.
const FRAMES = 10;

/** Resolves with true once the track's picture moves, or with false after `withinMs`. */
export function movingPicture(track, withinMs) {
  const video = Object.assign(document.createElement('video'), { muted: true, playsInline: true });
  return new Promise((resolve) => {
    const timer = setTimeout(() => resolve(false), withinMs);
    const arrived = () => {
      clearTimeout(timer);
      resolve(true);
    };
    if ('requestVideoFrameCallback' in video) {
      let missing = FRAMES;
      const count = () => {
        missing -= 1;
        if (missing) video.requestVideoFrameCallback(count);
        else arrived();
      };
      video.requestVideoFrameCallback(count);
      video.srcObject = new MediaStream([track]);
      video.play().catch(() => {});
    } else if (!track.muted) setTimeout(arrived, DECODE_MS);
    else track.addEventListener('unmute', () => setTimeout(arrived, DECODE_MS), { once: true });
  }).finally(() => setTimeout(() => (video.srcObject = null), AFTERWARDS_MS));
}

/**
 * Makes one stream hold exactly the other's tracks. The elements that show it stay as they are. The picture goes first, and each new
 * track comes before the old one goes, so that elements show the last frame until the next one.
 */
export function copyTracks(from, to) {
  for (const kind of ['Video', 'Audio']) {
    const wanted = from?.[`get${kind}Tracks`]() ?? [];
    const before = to[`get${kind}Tracks`]();
    for (const track of wanted) to.addTrack(track);
    for (const track of before) if (!wanted.includes(track)) to.removeTrack(track);
  }
}
