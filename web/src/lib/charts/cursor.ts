/** The instant that somebody points at, shared by charts and by what stands beside them. */
import { Emitter } from "../live/emitter";

export interface Pointed {
  /** Epoch milliseconds; undefined where nobody points. */
  at: number | undefined;
  by: "chart" | "log";
}

export class TimeCursor {
  /** Somebody clicked a chart at an instant. */
  readonly chosen = new Emitter<number>();
  #moved = new Emitter<Pointed>();
  #at: number | undefined;

  on(listener: (pointed: Pointed) => void): () => void {
    return this.#moved.on(listener);
  }

  set(at: number | undefined, by: Pointed["by"]): void {
    if (at === this.#at) return;
    this.#at = at;
    this.#moved.emit({ at, by });
  }
}
