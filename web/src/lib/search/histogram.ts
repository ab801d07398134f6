/**
 * How many lines were found when: counts in bars of equal length. Where the span is open towards the
 * past the bars widen as older lines come.
 */

/** Bars at most; two become one when there would be more. */
export const BARS = 120;

/** And at least. */
const FEWEST = 24;

/** Lengths that a bar may have, milliseconds: round ones, so that a bar can be named. */
const STEPS = [
  100, 200, 500, 1e3, 2e3, 5e3, 10e3, 30e3, 60e3, 120e3, 300e3, 600e3, 1_800e3, 3_600e3, 7_200e3,
  21_600e3, 43_200e3, 86_400e3, 172_800e3, 604_800e3,
];

const stepFor = (span: number) => STEPS.find((step) => span / step <= BARS) ?? 2_592_000e3;

export class Histogram {
  #counts = new Map<number, number>();
  #step = 0;
  /** Of everything that was counted, epoch milliseconds. */
  #first = Infinity;
  #last = -Infinity;

  /** `from` may be -Infinity: as far back as lines are found. */
  constructor(
    private readonly from: number,
    private readonly to: number,
  ) {
    this.#step = stepFor(Number.isFinite(from) ? Math.max(1, to - from) : 1);
  }

  /** The length of a bar, milliseconds. */
  get step(): number {
    return this.#step;
  }

  /** From the first bar's begin to the last one's end. */
  get span(): [number, number] {
    const step = this.#step;
    let from = Number.isFinite(this.from) ? this.from : Math.min(this.#first, this.to);
    let to = Number.isFinite(this.from) ? this.to : Math.max(this.#last, from);
    // A few lines of one moment are a few thin bars, not a wall.
    const missing = FEWEST * step - (to - from);
    if (missing > 0) [from, to] = [from - missing / 2, to + missing / 2];
    return [Math.floor(from / step) * step, (Math.floor(to / step) + 1) * step];
  }

  get most(): number {
    return Math.max(0, ...this.#counts.values());
  }

  add(at: number): void {
    if (!Number.isFinite(at)) return;
    this.#first = Math.min(this.#first, at);
    this.#last = Math.max(this.#last, at);
    const [from, to] = this.span;
    if ((to - from) / this.#step > BARS + 2) this.#widen(stepFor(to - from));
    const bar = Math.floor(at / this.#step);
    this.#counts.set(bar, (this.#counts.get(bar) ?? 0) + 1);
  }

  /** The bars that have something, as [begin, count]. */
  *bars(): Iterable<[number, number]> {
    for (const [bar, count] of this.#counts) yield [bar * this.#step, count];
  }

  #widen(step: number): void {
    const before = [...this.bars()];
    this.#step = step;
    this.#counts.clear();
    for (const [at, count] of before) {
      const bar = Math.floor(at / step);
      this.#counts.set(bar, (this.#counts.get(bar) ?? 0) + count);
    }
  }
}
