import { delivers } from "../format/state";
import { freshAt, type Skew } from "./skew";
import type { DeviceState, Sample } from "./types";

/** The longest period that a hub samples at, milliseconds. */
const LONGEST = 60_000;

/** Numbers and when they were taken. */
type Timed = Pick<Sample, "sampledAt">;

/** When a device's numbers came and how often they come; plain, for no one re-renders by it. */
export class Freshness {
  /** Epoch milliseconds by the local clock; undefined before the first sample. */
  at: number | undefined;
  /** Milliseconds between the last two samples, by the host's clock. */
  period = 1_000;
  #sampledAt: string | undefined;

  /** A sample came in its turn: the time since the one before is the pace. */
  next(sample: Timed | null, state: DeviceState, now: number, skew: Skew): void {
    const between = Date.parse(sample?.sampledAt ?? "") - Date.parse(this.#sampledAt ?? "");
    if (between > 0) this.period = Math.min(between, LONGEST);
    this.snapshot(sample, state, now, skew);
  }

  /**
   * A sample came with a snapshot: how many were missed since the last one is not known, so it says
   * nothing of the pace. A sample that is known already does not make anything younger.
   */
  snapshot(sample: Timed | null, state: DeviceState, now: number, skew: Skew): void {
    if (!sample || sample.sampledAt === this.#sampledAt) return;
    this.#sampledAt = sample.sampledAt;
    this.at = freshAt(Date.parse(sample.sampledAt), delivers(state), now, skew);
  }
}
