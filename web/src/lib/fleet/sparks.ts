/**
 * The last minute of one figure for each device, in two flat arrays: one slot a second and device.
 * A second without a reading stays empty, so that a pause is seen as a pause.
 */

/** Seconds that are kept; a power of two, so that a second's place is a mask away. */
const SLOTS = 64;
/** Seconds that are drawn. */
export const SPAN_S = 60;

export class Sparks {
  #values = new Float32Array(0);
  /** The second that a slot belongs to; others' are left over from an earlier round. */
  #stamps = new Float64Array(0);
  #count = 0;
  /** Numbers that were given back. */
  #free: number[] = [];

  /** Makes room for one more device; gives its number here. */
  add(): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const needed = (this.#count + 1) * SLOTS;
    if (needed > this.#values.length) {
      const capacity = Math.max(needed, this.#values.length * 2);
      const values = new Float32Array(capacity);
      const stamps = new Float64Array(capacity);
      values.set(this.#values);
      stamps.set(this.#stamps);
      this.#values = values;
      this.#stamps = stamps;
    }
    return this.#count++;
  }

  /** Forgets a device; its number may be given to another. */
  remove(device: number): void {
    this.#stamps.fill(0, device * SLOTS, (device + 1) * SLOTS);
    this.#free.push(device);
  }

  push(device: number, atMs: number, value: number | undefined): void {
    if (value === undefined || !Number.isFinite(value) || !Number.isFinite(atMs)) return;
    const second = Math.floor(atMs / 1_000);
    const place = device * SLOTS + (second & (SLOTS - 1));
    this.#values[place] = value;
    this.#stamps[place] = second;
  }

  /** Calls `point` for each reading of the minute that ends at `endMs`, oldest first. */
  each(device: number, endMs: number, point: (secondsAgo: number, value: number) => void): void {
    const end = Math.floor(endMs / 1_000);
    for (let second = end - SPAN_S + 1; second <= end; second += 1) {
      const place = device * SLOTS + (second & (SLOTS - 1));
      if (this.#stamps[place] === second) point(end - second, this.#values[place] ?? 0);
    }
  }
}
