/** A chart in numbers: a row a minute, with the mean of what was measured in it. */
import type { Window } from "./feed";

export interface MinuteRow {
  /** The minute's beginning, epoch milliseconds. */
  at: number;
  /** The mean of each series; undefined where nothing was measured. */
  means: (number | undefined)[];
}

const MINUTE = 60_000;

/** The minutes of a window, newest first. */
export function minutes(
  t: Float64Array,
  series: Float64Array[],
  { from, to }: Window,
): MinuteRow[] {
  const rows = new Map<number, { sums: number[]; counts: number[] }>();
  for (let i = 0; i < t.length; i += 1) {
    const time = t[i] ?? NaN;
    if (!(time >= from && time <= to)) continue;
    const at = Math.floor(time / MINUTE) * MINUTE;
    let row = rows.get(at);
    if (!row) rows.set(at, (row = { sums: series.map(() => 0), counts: series.map(() => 0) }));
    for (const [s, column] of series.entries()) {
      const value = column[i] ?? NaN;
      if (Number.isNaN(value)) continue;
      row.sums[s] = (row.sums[s] ?? 0) + value;
      row.counts[s] = (row.counts[s] ?? 0) + 1;
    }
  }
  return [...rows]
    .map(([at, { sums, counts }]) => ({
      at,
      means: sums.map((sum, s) => (counts[s] ? sum / (counts[s] ?? 1) : undefined)),
    }))
    .reverse();
}
