/** The instant that somebody points at, shared by charts and by what stands beside them. */
import { Emitter } from "../live/emitter";

export interface Pointed {
  /** Epoch milliseconds; undefined where nobody points. */
  at: number | undefined;
  /** Who points: "chart", or a log. */
  by: unknown;
}

export class TimeCursor {
  /** Somebody goes to an instant: by a click into a chart, or from a log. */
  readonly chosen = new Emitter<{ at: number; by: unknown }>();
  #moved = new Emitter<Pointed>();
  #at: number | undefined;

  on(listener: (pointed: Pointed) => void): () => void {
    return this.#moved.on(listener);
  }

  leap(at: number, by: unknown): void {
    if (Number.isFinite(at)) this.chosen.emit({ at, by });
  }

  set(at: number | undefined, by: unknown): void {
    if (at === this.#at) return;
    this.#at = at;
    this.#moved.emit({ at, by });
  }
}
