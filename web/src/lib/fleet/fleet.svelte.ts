/** The fleet as the hub tells it: a row a device, each replaced as a whole by every batch. */
import { perFrame } from "../frame";
import type { LiveClient } from "../live/client";
import { Freshness } from "../live/freshness";
import type { Handlers } from "../live/room";
import type { DashboardData, DeviceEntry, ErrorBody } from "../live/types";
import { Sparks } from "./sparks";
import { totals, type Totals } from "./totals";

export class FleetRow {
  /** Set once per frame at most; only rows on the screen listen. */
  entry: DeviceEntry;
  readonly fresh = new Freshness();

  constructor(
    entry: DeviceEntry,
    /** The device's number in the sparklines. */
    readonly spark: number,
  ) {
    this.entry = $state.raw(entry);
  }
}

export class Fleet {
  /** Every device; replaced when one comes or goes. */
  rows = $state.raw<FleetRow[]>([]);
  /** Undefined until the first state came. */
  totals = $state.raw<Totals>();
  refusal = $state.raw<ErrorBody>();
  readonly sparks = new Sparks();

  #rows = new Map<number, FleetRow>();
  /** The newest entry of each device since the last frame. */
  #waiting = new Map<number, DeviceEntry>();
  #flush = perFrame(() => this.#show());

  constructor(private readonly live: LiveClient) {}

  /** Follows the fleet until the returned function is called. */
  watch(): () => void {
    const handler: Handlers["dashboard"] = {
      snapshot: (data) => this.#snapshot(data),
      batch: (updates) => this.#take(updates, "next"),
      refused: (error) => (this.refusal = error),
    };
    return this.live.watch({ type: "dashboard" }, handler);
  }

  /** Counts anew, from what is shown. */
  count(): void {
    if (this.totals) this.totals = totals(this.rows.map((row) => row.entry));
  }

  #snapshot({ devices }: DashboardData): void {
    this.refusal = undefined;
    const there = new Set(devices.map((entry) => entry.id));
    for (const [id, row] of [...this.#rows]) {
      if (there.has(id)) continue;
      this.#rows.delete(id);
      this.sparks.remove(row.spark);
    }
    this.#waiting.clear();
    this.#take(devices, "snapshot");
    this.#show();
    this.totals = totals(devices);
  }

  #take(updates: DeviceEntry[], by: "snapshot" | "next"): void {
    const now = Date.now();
    for (const entry of updates) {
      let row = this.#rows.get(entry.id);
      if (!row) this.#rows.set(entry.id, (row = new FleetRow(entry, this.sparks.add())));
      const { sample } = entry;
      row.fresh[by](sample, entry.state, now, this.live.skew);
      if (sample) this.sparks.push(row.spark, Date.parse(sample.sampledAt), sample.cpu);
      this.#waiting.set(entry.id, entry);
    }
    this.#flush();
  }

  #show(): void {
    for (const [id, entry] of this.#waiting) {
      const row = this.#rows.get(id);
      if (row) row.entry = entry;
    }
    this.#waiting.clear();
    const rows = [...this.#rows.values()];
    if (rows.length !== this.rows.length || rows.some((row, i) => row !== this.rows[i])) {
      this.rows = rows;
    }
  }
}
