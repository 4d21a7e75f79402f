// How pictures fill their frames: whole, unless so little would be cut off that nothing can be missed. A wound may be at
// the edge of a picture.

/** The largest part of a picture that may be cut off. */
const CUT_MAX = 0.1;

/** Fits a video's picture into its element; a screen is always shown whole. */
export function fit(video, { isScreen = false } = {}) {
  const { videoWidth, videoHeight, clientWidth, clientHeight } = video;
  if (!videoWidth || !clientWidth || !clientHeight) return;
  const [picture, frame] = [videoWidth / videoHeight, clientWidth / clientHeight];
  const cut = 1 - Math.min(picture / frame, frame / picture);
  video.style.objectFit = !isScreen && cut <= CUT_MAX ? 'cover' : 'contain';
}

/** Calls `refit` whenever the picture, or its frame, gets another size. Returns a function that ends it. */
export function observeSize(video, refit) {
  const observer = new ResizeObserver(refit);
  observer.observe(video);
  video.addEventListener('resize', refit);
  return () => observer.disconnect();
}
