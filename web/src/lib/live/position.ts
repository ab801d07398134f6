/**
 * Where a viewer stands in a room's stream: which events are news, which are repeats, and when
 * something was missed.
 */

export type Verdict = "news" | "repeat" | "gap";

export class Position {
  #epoch: string | undefined;
  #seq = 0;

  /** A snapshot holds everything up to `seq`. */
  snapshot(epoch: string, seq: number): void {
    this.#epoch = epoch;
    this.#seq = seq;
  }

  /** Before the first snapshot nothing can be placed. */
  get known(): boolean {
    return this.#epoch !== undefined;
  }

  /** Moves on to an event that may leave others out; false when it is of another stream. */
  follow(epoch: string, seq: number): boolean {
    const same = epoch === this.#epoch;
    if (!same || seq > this.#seq) this.snapshot(epoch, seq);
    return same;
  }

  /** Judges an event and moves on to it, unless it is old. */
  judge(epoch: string, seq: number): Verdict {
    if (this.#epoch === undefined) return "gap";
    if (epoch !== this.#epoch) {
      this.snapshot(epoch, seq);
      return "gap";
    }
    if (seq <= this.#seq) return "repeat";
    const verdict = seq === this.#seq + 1 ? "news" : "gap";
    this.#seq = seq;
    return verdict;
  }
}
