/**
 * Gathers changes and hands them on once per frame of the screen. A browser gives no frames to a
 * hidden page, so a hidden page draws nothing; what waits is bounded by the caller's own state.
 */
export function perFrame(flush: () => void): () => void {
  let waiting = false;
  return () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      flush();
    });
  };
}
