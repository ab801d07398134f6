/** From METR's places to the fleet's slots: one tick of figures in, columns changed. */
import { MetrError, Reader, STATES } from "../metr";
import type { Skew } from "../live/skew";
import { emptyReading, FIGURES, type FleetColumns } from "./columns";

/** How long a device may send figures before it is said who it is, milliseconds. */
const STRANGER_MS = 3_000;

export class Frames {
  #reader = new Reader();
  /** The slot of each of the reader's places; −1 where the device is not known. */
  #slots = new Int32Array(0);
  #membership = -1;
  #ids = new Float64Array(0);
  #reading = emptyReading();
  #strangerSince: number | undefined;

  constructor(
    private readonly columns: FleetColumns,
    private readonly skew: Skew,
  ) {}

  /** The stream begins anew: with a state, and then a key frame. */
  reset(): void {
    this.#reader.reset();
    this.#membership = -1;
    this.#ids = new Float64Array(0);
    this.#strangerSince = undefined;
  }

  /** Takes a frame that came at `now`. False when only a new state can help. */
  take(bytes: Uint8Array, now: number): boolean {
    let frame;
    try {
      frame = this.#reader.apply(bytes);
    } catch (error) {
      if (!(error instanceof MetrError)) throw error;
      if (error.code !== "NeedsKeyFrame") console.error(`fleet: ${error.message}`);
      return false;
    }
    const from = this.#reader.columns;
    let left = false;
    if (frame.membership !== this.#membership) {
      this.#membership = frame.membership;
      left = this.#left(from.id);
      this.#ids = from.id.slice();
      this.#slots = Int32Array.from(from.id, (id) => this.columns.slotOf(id) ?? -1);
    }
    let strangers = false;
    const reading = this.#reading;
    for (const place of frame.changed) {
      let slot = this.#slots[place] ?? -1;
      // Its entry may have come since.
      if (slot < 0) slot = this.#slots[place] = this.columns.slotOf(from.id[place] ?? NaN) ?? -1;
      if (slot < 0) {
        strangers = true;
        continue;
      }
      for (const name of FIGURES) reading[name] = from[name][place] ?? NaN;
      reading.sampledAt = from.sampledAt[place] ?? NaN;
      reading.state = STATES[from.state[place] ?? 0] ?? "online";
      this.columns.reading(slot, reading, now, this.skew);
    }
    return this.#placed(strangers, now) && !left;
  }

  /** Whether one that was in the stream is not any more: it is gone, or not for us to see. */
  #left(ids: Float64Array): boolean {
    const there = new Set(ids);
    return this.#ids.some((id) => !there.has(id));
  }

  /** Whether everybody in the stream is known, or may yet become so. */
  #placed(strangers: boolean, now: number): boolean {
    if (!strangers) {
      this.#strangerSince = undefined;
      return true;
    }
    this.#strangerSince ??= now;
    return now - this.#strangerSince < STRANGER_MS;
  }
}
