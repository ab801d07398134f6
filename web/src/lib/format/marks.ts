/** How each shape of a state is drawn: the inside of an SVG of 12 by 12. */
import type { Shape } from "./state";

export const MARKS: Record<Shape, string> = {
  disc: '<circle cx="6" cy="6" r="3.5" fill="currentColor" />',
  half: '<circle cx="6" cy="6" r="4" class="stroke" /><path d="M6 2a4 4 0 0 0 0 8z" fill="currentColor" />',
  ring: '<circle cx="6" cy="6" r="3.75" class="stroke" />',
  dashed: '<circle cx="6" cy="6" r="3.75" class="stroke" stroke-dasharray="2 1.9" />',
  cross: '<path d="M2.5 2.5l7 7M9.5 2.5l-7 7" class="stroke thick" />',
  diamond:
    '<path d="M6 .8L11.2 6 6 11.2.8 6z" fill="currentColor" />' +
    '<path d="M6 3.4v3M6 7.9v1" stroke="var(--bg)" stroke-width="1.4" />',
  lock:
    '<rect x="2" y="5.5" width="8" height="5.5" fill="currentColor" />' +
    '<path d="M3.7 5.5V3.8a2.3 2.3 0 0 1 4.6 0v1.7" class="stroke" />',
  pause: '<path d="M4 2.5v7M8 2.5v7" class="stroke thick" />',
  turn:
    '<path d="M10 6a4 4 0 1 1-1.3-2.9" class="stroke" />' +
    '<path d="M10.5.8v3.4H7.1z" fill="currentColor" />',
};
