/** The least and the greatest of half minutes that nobody watched, beside their mean. */
import type { Summaries } from "../live/types";
import { SPAN_MS } from "./columns";

/** What one point of a series stands for; times in epoch milliseconds. */
export interface Band {
  from: number;
  to: number;
  min: number;
  max: number;
}

/** Half minutes at most, whatever the hub sends. */
const MOST = (SPAN_MS / 30_000) * 2;

export class Bands {
  #summaries: Summaries | undefined;

  load(summaries: Summaries | undefined): void {
    this.#summaries = summaries;
  }

  /** The bands of a series; those of single samples are none. */
  of(name: string): Band[] {
    const summaries = this.#summaries;
    const spread = summaries && Object.hasOwn(summaries, name) ? summaries[name] : undefined;
    if (!summaries || !spread || Array.isArray(spread)) return [];
    const bands: Band[] = [];
    for (let i = Math.max(0, summaries.t.length - MOST); i < summaries.t.length; i += 1) {
      const [to, seconds] = [summaries.t[i], summaries.seconds[i]];
      const [min, max] = [spread.min[i], spread.max[i]];
      if (to === undefined || !seconds || min == null || max == null) continue;
      if ((summaries.samples[i] ?? 0) > 1) bands.push({ from: to - seconds * 1_000, to, min, max });
    }
    return bands;
  }
}
