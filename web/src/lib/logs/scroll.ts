/**
 * A scroller of bounded height for a list of any height: browsers end somewhere between 17 and 33
 * million pixels. Up to the bound one pixel is one pixel. Beyond it small moves are as long as they
 * look, and only a drag of the scrollbar, or the way back to rest, goes by proportion.
 */

/** The most pixels that a browser is asked for. */
export const MOST_SPACE = 8_000_000;

export class ScrollSpace {
  /** What can be seen, pixels. */
  view = 0;
  /** The height of the list. */
  total = 0;
  /** What is at the top of the view, pixels from the front of the list. */
  top = 0;
  /** Where the scroller stands, or should stand. */
  real = 0;

  constructor(private readonly most = MOST_SPACE) {}

  /** How high the scroller's content is. */
  get space(): number {
    return Math.min(this.total, this.most);
  }

  get bottom(): number {
    return Math.max(0, this.total - this.view);
  }

  /** Goes to a place in the list; the scroller is to follow to `real`. */
  goTo(top: number): void {
    this.top = Math.min(Math.max(top, 0), this.bottom);
    this.rest();
  }

  /** Puts the scroller where it belongs for what is shown. */
  rest(): void {
    this.real = this.bottom === 0 ? 0 : (this.top / this.bottom) * this.#realBottom;
  }

  /** Somebody scrolled, to `real`. Gives whether the scroller must be put right at once. */
  moved(real: number): boolean {
    const by = real - this.real;
    this.real = real;
    if (this.total <= this.most) {
      this.top = Math.min(Math.max(real, 0), this.bottom);
      return false;
    }
    const far = Math.abs(by) > this.view * 2;
    const top = far ? (real / this.#realBottom) * this.bottom : this.top + by;
    this.top = Math.min(Math.max(top, 0), this.bottom);
    const ended = real <= 0 || real >= this.#realBottom - 1;
    return ended && this.top > 0 && this.top < this.bottom;
  }

  get #realBottom(): number {
    return Math.max(0, this.space - this.view);
  }
}
