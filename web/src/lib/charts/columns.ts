/**
 * The last minutes of several figures over one time axis, in typed arrays that grow at the end and
 * are pushed back when they reach it.
 */
import type { Recent } from "../live/types";

/** How far back it goes, milliseconds: as far as the hub's own memory of the live path. */
export const SPAN_MS = 600_000;
/** Points in use at most: one a second, and some that came early. */
const POINTS = 700;
/** Room for as many again, so that points are moved once in so many. */
const CAPACITY = POINTS * 2;
/** Points closer than this are one point, milliseconds. */
const CLOSEST_MS = 500;

export class Columns<Name extends string> {
  readonly #t = new Float64Array(CAPACITY);
  readonly #values: Record<Name, Float64Array>;
  #start = 0;
  #end = 0;

  constructor(readonly names: readonly Name[]) {
    this.#values = Object.fromEntries(
      names.map((name) => [name, new Float64Array(CAPACITY)]),
    ) as Record<Name, Float64Array>;
  }

  get length(): number {
    return this.#end - this.#start;
  }

  /** The time of the newest point, epoch milliseconds by the host's clock. */
  get newest(): number | undefined {
    return this.length > 0 ? this.#t[this.#end - 1] : undefined;
  }

  /** Begins anew with what the hub remembers. Columns of unequal length are cut to the time's. */
  load(recent: Recent): void {
    this.#start = this.#end = 0;
    const from = Math.max(0, recent.t.length - POINTS);
    for (let i = from; i < recent.t.length; i += 1) {
      const t = recent.t[i];
      if (typeof t === "number") this.push(t, (name) => recent[name]?.[i]);
    }
  }

  /** Adds a point. One from before the last (a clock set back) begins anew. */
  push(t: number, value: (name: Name) => number | null | undefined): void {
    if (!Number.isFinite(t)) return;
    const newest = this.newest;
    if (newest !== undefined) {
      if (t < newest) this.#start = this.#end = 0;
      else if (t - newest < CLOSEST_MS) this.#end -= 1;
    }
    while (
      this.length > 0 &&
      (this.length >= POINTS || t - (this.#t[this.#start] ?? t) > SPAN_MS)
    ) {
      this.#start += 1;
    }
    if (this.#end === CAPACITY) this.#pushBack();
    this.#t[this.#end] = t;
    for (const name of this.names) {
      const v = value(name);
      this.#values[name][this.#end] = typeof v === "number" ? v : NaN;
    }
    this.#end += 1;
  }

  /** The newest value of a figure; undefined where there is none. */
  last(name: Name): number | undefined {
    const value = this.length > 0 ? this.#values[name][this.#end - 1] : undefined;
    return value === undefined || Number.isNaN(value) ? undefined : value;
  }

  /** Whether a figure has any value at all. */
  has(name: Name): boolean {
    return this.#values[name].subarray(this.#start, this.#end).some((v) => !Number.isNaN(v));
  }

  times(): Float64Array {
    return this.#t.subarray(this.#start, this.#end);
  }

  values(name: Name): Float64Array {
    return this.#values[name].subarray(this.#start, this.#end);
  }

  #pushBack(): void {
    for (const column of [this.#t, ...Object.values<Float64Array>(this.#values)]) {
      column.copyWithin(0, this.#start, this.#end);
    }
    this.#end -= this.#start;
    this.#start = 0;
  }
}
