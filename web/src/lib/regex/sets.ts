/**
 * Sets of UTF-16 code units. What an escape or a class of a regular expression stands for is asked of
 * the browser itself, one code unit at a time, so that it means here what it means there.
 */

/** Code units there are. */
export const UNITS = 0x10000;

/** Rising and apart: from, to (included), from, to, … */
export type Ranges = readonly number[];

/** Classes whose ranges are kept: somebody who types asks for the same ones at each letter. */
const KEPT = 100;
const kept = new Map<string, Ranges>();

/** What a single atom, such as `[^a-z]`, `\d` or `.`, stands for. */
export function atomSet(atom: string, flags: string): Ranges {
  const key = `${flags}/${atom}`;
  const known = kept.get(key);
  if (known) return known;
  const pattern = new RegExp(`^(?:${atom})$`, flags);
  const ranges: number[] = [];
  for (let unit = 0, inside = false; unit <= UNITS; unit += 1) {
    const member = unit < UNITS && pattern.test(String.fromCharCode(unit));
    if (member === inside) continue;
    ranges.push(member ? unit : unit - 1);
    inside = member;
  }
  if (kept.size >= KEPT) kept.clear();
  kept.set(key, ranges);
  return ranges;
}

/** A character as it is written; with `i` in its other cases, too. */
export function literalSet(char: string, flags: string): Ranges {
  const unit = char.charCodeAt(0);
  if (!flags.includes("i")) return [unit, unit];
  const same = new RegExp(char.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&"), flags);
  const cases = [char, char.toLowerCase(), char.toUpperCase()];
  const units = cases.filter((one) => one.length === 1 && same.test(one));
  return [...new Set(units.map((one) => one.charCodeAt(0)))]
    .sort((a, b) => a - b)
    .flatMap((one) => [one, one]);
}

export function has(ranges: Ranges, unit: number): boolean {
  for (let i = 0; i < ranges.length; i += 2) {
    if (unit < (ranges[i] ?? 0)) return false;
    if (unit <= (ranges[i + 1] ?? 0)) return true;
  }
  return false;
}

/**
 * Puts the code units that no set tells apart into one class. Gives each unit's class, and for each
 * class one unit of it.
 */
export function classes(sets: readonly Ranges[]): { of: Uint16Array; units: number[] } {
  const cuts = new Set([0]);
  for (const set of sets) {
    for (let i = 0; i < set.length; i += 2) {
      cuts.add(set[i] ?? 0);
      if ((set[i + 1] ?? 0) + 1 < UNITS) cuts.add((set[i + 1] ?? 0) + 1);
    }
  }
  const begins = [...cuts].sort((a, b) => a - b);
  const of = new Uint16Array(UNITS);
  const units: number[] = [];
  const known = new Map<string, number>();
  for (const [i, begin] of begins.entries()) {
    const key = sets.map((set) => (has(set, begin) ? "1" : "0")).join("");
    let number = known.get(key);
    if (number === undefined) {
      number = units.length;
      known.set(key, number);
      units.push(begin);
    }
    of.fill(number, begin, begins[i + 1] ?? UNITS);
  }
  return { of, units };
}
