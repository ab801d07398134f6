/** Finding in the lines that are here: the newest first, a slice at a time, and the new ones. */
import { Plain, Regex, type Pattern } from "../regex/regex";
import { Unsupported } from "../regex/program";
import type { LogRing } from "./ring";

/** Characters that are looked at between two looks at the clock, and what a line costs besides. */
const STRIDE = 65_536;
const A_LINE = 100;

/** What is looked for. `/…/` is a regular expression, anything else is found in any case. */
export type Needle = { pattern: Pattern } | { wrong: string } | undefined;

export function needle(text: string): Needle {
  if (text === "") return undefined;
  const given = /^\/(.+)\/([imsu]*)$/.exec(text);
  if (!given) return { pattern: new Plain(text) };
  try {
    return { pattern: new Regex(given[1] ?? "", [...new Set(given[2])].join("")) };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (error instanceof Unsupported) return { wrong: `This cannot be looked for here: ${why}` };
    return { wrong: `Not a regular expression: ${why}` };
  }
}

export class Find {
  /** Matches that were there at first, the newest first. */
  #before: number[] = [];
  /** Those that came since, the oldest first, from `#gone` on. */
  #since: number[] = [];
  #gone = 0;
  /** The lines from here to there have been looked at. */
  #low: number;
  #high: number;

  constructor(
    private readonly ring: LogRing,
    readonly pattern: Pattern,
    /** Lines that are not shown, and so not found. */
    private readonly hidden: (position: number) => boolean = () => false,
  ) {
    this.#low = this.#high = ring.end;
  }

  get count(): number {
    return this.#before.length + this.#since.length - this.#gone;
  }

  /** Whether all lines have been looked at. */
  get done(): boolean {
    return this.#high === this.ring.end && this.#low <= this.ring.first;
  }

  /** Looks on until `late` says stop. */
  run(late: () => boolean): void {
    this.#forget();
    const { ring } = this;
    this.#high = Math.max(this.#high, ring.first);
    this.#low = Math.min(this.#low, this.#high);
    let spent = 0;
    const stop = (position: number, worked: number) => {
      spent += ring.message(position).length + A_LINE + this.pattern.work - worked;
      if (spent < STRIDE) return false;
      spent = 0;
      return late();
    };
    while (this.#high < ring.end) {
      const { work } = this.pattern;
      if (this.matches(this.#high)) this.#since.push(this.#high);
      this.#high += 1;
      if (stop(this.#high - 1, work)) return;
    }
    while (this.#low > ring.first) {
      const { work } = this.pattern;
      this.#low -= 1;
      if (this.matches(this.#low)) this.#before.push(this.#low);
      if (stop(this.#low, work)) return;
    }
  }

  /** Whether a line has it: in its message, or as it came. */
  matches(position: number): boolean {
    const { pattern, ring } = this;
    if (this.hidden(position)) return false;
    if (pattern.test(ring.message(position))) return true;
    const raw = ring.raw(position);
    return raw !== undefined && pattern.test(raw);
  }

  /** The match of this rank from the oldest, from 0. */
  match(rank: number): number | undefined {
    const before = this.#before.length;
    if (rank < before) return this.#before[before - 1 - rank];
    return this.#since[rank - before + this.#gone];
  }

  /** How many matches lie before a position. */
  rank(position: number): number {
    let [low, high] = [0, this.count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.match(middle) ?? Infinity) < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The next match after a position, or before it; from the other end where there is none. */
  step(position: number, forward: boolean): number | undefined {
    this.#forget();
    if (this.count === 0) return undefined;
    const rank = forward ? this.rank(position + 1) : this.rank(position) - 1;
    return this.match((rank + this.count) % this.count);
  }

  /** Forgets matches in lines that are no longer held. */
  #forget(): void {
    const { first } = this.ring;
    while (this.#before.length > 0 && (this.#before.at(-1) ?? first) < first) this.#before.pop();
    while ((this.#since[this.#gone] ?? first) < first) this.#gone += 1;
    if (this.#gone > 10_000) {
      this.#since = this.#since.slice(this.#gone);
      this.#gone = 0;
    }
  }
}
