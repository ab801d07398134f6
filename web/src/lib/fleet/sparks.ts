/**
 * The last minute of one figure for each device, in two flat arrays: one place a second and slot.
 * A second without a reading stays empty, so that a pause is seen as a pause.
 */

/** Seconds that are kept; a power of two, so that a second's place is a mask away. */
const SECONDS = 64;
/** Seconds that are drawn. */
export const SPAN_S = 60;

export class Sparks {
  #values = new Float32Array(0);
  /** The second that a place belongs to; others' are left over from an earlier round. */
  #stamps = new Float64Array(0);

  /** Forgets a slot's minute: another device gets the slot. */
  clear(slot: number): void {
    this.#stamps.fill(0, slot * SECONDS, (slot + 1) * SECONDS);
  }

  push(slot: number, atMs: number, value: number | undefined): void {
    if (value === undefined || !Number.isFinite(value) || !Number.isFinite(atMs)) return;
    this.#reserve((slot + 1) * SECONDS);
    const second = Math.floor(atMs / 1_000);
    const place = slot * SECONDS + (second & (SECONDS - 1));
    this.#values[place] = value;
    this.#stamps[place] = second;
  }

  /** Calls `point` for each reading of the minute that ends at `endMs`, oldest first. */
  each(slot: number, endMs: number, point: (secondsAgo: number, value: number) => void): void {
    const end = Math.floor(endMs / 1_000);
    for (let second = end - SPAN_S + 1; second <= end; second += 1) {
      const place = slot * SECONDS + (second & (SECONDS - 1));
      if (this.#stamps[place] === second) point(end - second, this.#values[place] ?? 0);
    }
  }

  #reserve(places: number): void {
    if (places <= this.#values.length) return;
    const capacity = Math.max(places, this.#values.length * 2);
    const values = new Float32Array(capacity);
    const stamps = new Float64Array(capacity);
    values.set(this.#values);
    stamps.set(this.#stamps);
    this.#values = values;
    this.#stamps = stamps;
  }
}
