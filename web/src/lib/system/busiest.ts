/**
 * The busiest events, fit to be read: an event that comes once a second is in one reading and not in
 * the next, and a list that turns over each second says nothing.
 */
import type { EventRate } from "../live/types";

/** So many readings make a mean. */
const READINGS = 10;
/** The list is put in order once in so many readings. */
const REORDER = 5;
/** As many as are shown. */
const MOST = 10;

export class Busiest {
  #readings: EventRate[][] = [];
  #rows: EventRate[] = [];
  #count = 0;

  /** Begins anew: what was before is not known. */
  clear(): void {
    this.#readings = [];
    this.#rows = [];
    this.#count = 0;
  }

  /** Takes in a reading; gives the mean rates, in an order that seldom changes. */
  push(top: EventRate[]): EventRate[] {
    this.#readings.push(top);
    if (this.#readings.length > READINGS) this.#readings.shift();
    const means = new Map<string, EventRate>();
    for (const { event, direction, perSecond } of this.#readings.flat()) {
      const key = keyOf({ event, direction });
      const mean = means.get(key)?.perSecond ?? 0;
      means.set(key, { event, direction, perSecond: mean + perSecond / this.#readings.length });
    }
    const rows: EventRate[] = [];
    if (this.#count % REORDER !== 0) {
      for (const row of this.#rows) {
        const mean = means.get(keyOf(row));
        if (mean) rows.push(mean);
        means.delete(keyOf(row));
      }
    }
    rows.push(...[...means.values()].sort((a, b) => b.perSecond - a.perSecond));
    this.#count += 1;
    this.#rows = rows.slice(0, MOST);
    return this.#rows;
  }
}

/** Names an event and its direction. */
export function keyOf({ event, direction }: Pick<EventRate, "event" | "direction">): string {
  return `${direction} ${event}`;
}
