/**
 * Pauses in a series. Samples come each second while somebody looks and each 30 s while nobody
 * does, so what a pause is depends on the pace around it.
 */

/** So many times the pace around it make a distance a pause. */
const FACTOR = 3;
/** The fastest pace that counts, milliseconds. */
const PACE_MS = 1_000;

/** Whether nothing should be drawn between point `i` and the one before. */
export function isGap(t: ArrayLike<number>, i: number): boolean {
  const distance = (at: number) => (t[at] ?? NaN) - (t[at - 1] ?? NaN);
  const before = i >= 2 ? distance(i - 1) : 0;
  const after = i + 1 < t.length ? distance(i + 1) : 0;
  return distance(i) > FACTOR * Math.max(before, after, PACE_MS);
}

/** A chart's data: times, and the values of each series, null where nothing is to be drawn. */
export type Drawn = [number[], ...(number | null)[][]];

/** Typed columns as a chart takes them, with an empty point put into each pause. */
export function withGaps(t: Float64Array, series: Float64Array[]): Drawn {
  const times: number[] = [];
  const drawn = series.map((): (number | null)[] => []);
  for (let i = 0; i < t.length; i += 1) {
    const at = t[i] ?? 0;
    if (i > 0 && isGap(t, i)) {
      times.push((at + (t[i - 1] ?? at)) / 2);
      for (const column of drawn) column.push(null);
    }
    times.push(at);
    for (const [s, column] of series.entries()) {
      const value = column[i] ?? NaN;
      drawn[s]?.push(Number.isNaN(value) ? null : value);
    }
  }
  return [times, ...drawn];
}
