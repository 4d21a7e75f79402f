// How videos fill their frames: uncropped, unless the crop is negligible. A wound may be at the edge of the video.

/** The largest part of a video that may be cropped. */
const CUT_MAX = 0.1;

/** Fits a video into its element; a shared screen, or an enlarged video, is never cropped. */
export function fit(video, { isWhole = false } = {}) {
  const { videoWidth, videoHeight, clientWidth, clientHeight } = video;
  if (!videoWidth || !clientWidth || !clientHeight) return;
  const [picture, frame] = [videoWidth / videoHeight, clientWidth / clientHeight];
  const cut = 1 - Math.min(picture / frame, frame / picture);
  video.style.objectFit = !isWhole && cut <= CUT_MAX ? 'cover' : 'contain';
}

/** Calls `refit` whenever the video or its frame changes size. Returns a function that stops this. */
export function observeSize(video, refit) {
  const observer = new ResizeObserver(refit);
  observer.observe(video);
  video.addEventListener('resize', refit);
  return () => observer.disconnect();
}
