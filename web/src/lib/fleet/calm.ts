/**
 * When the order of the rows is made anew. Figures move all the time; rows may only now and then,
 * and never under the hand of somebody who is at work among them.
 */

/** How often the order follows the figures, milliseconds. */
const FIGURES_MS = 5_000;
/** How soon it follows a device that came, went or changed its state. */
const CHANGES_MS = 1_000;
/** How long a pointer or a focus that rests in the rows holds them: then nobody is there. */
export const REST_MS = 60_000;
/** How long rows still stand after the pointer and the focus have left them. */
export const LEAVE_MS = 3_000;

export class Calm {
  #until = -Infinity;
  #renewedAt = -Infinity;
  #changes = -1;

  /** Somebody moved, pressed a key or scrolled in the rows at `now`, in milliseconds. */
  touch(now: number): void {
    this.#until = now + REST_MS;
  }

  /** Neither the pointer nor the focus is in the rows any more. */
  leave(now: number): void {
    this.#until = Math.min(this.#until, now + LEAVE_MS);
  }

  /** Whether rows stand still for somebody. */
  held(now: number): boolean {
    return now < this.#until;
  }

  /**
   * Whether the order should be made anew: `changes` counts what happened to the devices, and
   * `figures` says whether they matter for the order.
   */
  due(now: number, changes: number, figures: boolean): boolean {
    if (this.held(now)) return false;
    const wait = changes !== this.#changes ? CHANGES_MS : figures ? FIGURES_MS : Infinity;
    return now - this.#renewedAt >= wait;
  }

  renewed(now: number, changes: number): void {
    this.#renewedAt = now;
    this.#changes = changes;
  }
}
