/** Which lines of a long list are drawn: those that can be seen, and some around them. */

/** Lines drawn above and below what can be seen. */
const MARGIN = 8;
/** Lines that come and go together: what a change of the window costs is mostly the same for one. */
const STEP = 4;

export interface Window {
  /** The first line drawn. */
  first: number;
  /** The line after the last one drawn. */
  last: number;
}

/** The window of a list of `count` lines; heights and `scrollTop` in the same unit. */
export function windowOf(
  scrollTop: number,
  height: number,
  lineHeight: number,
  count: number,
): Window {
  // The list may have become shorter than where it is scrolled to; the browser follows later.
  const top = Math.min(scrollTop, Math.max(0, count * lineHeight - height));
  const from = Math.floor((top / lineHeight - MARGIN) / STEP) * STEP;
  const to = Math.ceil(((top + height) / lineHeight + MARGIN) / STEP) * STEP;
  const last = Math.min(Math.max(to, 0), count);
  return { first: Math.min(Math.max(from, 0), last), last };
}

/**
 * Where to scroll so that a line can be seen, moving as little as possible. `cover` is the height
 * of what lies over the list's top.
 */
export function scrollTo(
  index: number,
  scrollTop: number,
  height: number,
  lineHeight: number,
  cover: number,
): number {
  const top = index * lineHeight;
  const bottom = top + lineHeight + cover - height;
  return Math.max(Math.min(scrollTop, top), bottom, 0);
}
