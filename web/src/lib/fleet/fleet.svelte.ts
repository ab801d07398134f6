/** The fleet as the hub tells it: once in JSON, then in binary frames straight into columns. */
import { perFrame } from "../frame";
import type { LiveClient } from "../live/client";
import { Emitter } from "../live/emitter";
import type { Handlers } from "../live/room";
import type { ErrorBody, FleetData, FleetEntry, Target } from "../live/types";
import { FleetColumns } from "./columns";
import { Frames } from "./frames";
import { sameTotals, totals, type Totals } from "./totals";

const TARGET = {
  type: "fleet",
  options: { format: "metr", version: 2 },
} as const satisfies Target;

export class Fleet {
  /** Undefined until the first state came. */
  totals = $state.raw<Totals>();
  refusal = $state.raw<ErrorBody>();
  /** Grows with each whole state from the hub: devices may have gone. */
  states = $state(0);
  /** Grows when a device comes, goes or is renamed. */
  roster = $state(0);

  readonly columns = new FleetColumns();
  /** The columns have changed; once per frame of the screen at most. */
  readonly changed = new Emitter<void>();

  #frames: Frames;
  #flush = perFrame(() => this.#show());

  constructor(private readonly live: LiveClient) {
    this.#frames = new Frames(this.columns, live.skew);
  }

  /** Follows the fleet until the returned function is called. */
  watch(): () => void {
    const handler: Handlers["fleet"] = {
      snapshot: (data) => this.#snapshot(data),
      frame: (bytes) => {
        const placed = this.#frames.take(bytes, Date.now());
        this.#flush();
        return placed;
      },
      entry: (entry) => this.#entry(entry),
      gone: ({ id }) => this.#gone(id),
      refused: (error) => (this.refusal = error),
    };
    return this.live.watch(TARGET, handler);
  }

  #snapshot({ devices }: FleetData): void {
    this.refusal = undefined;
    this.#frames.reset();
    this.columns.snapshot(devices, Date.now(), this.live.skew);
    this.#show();
    this.states += 1;
  }

  #entry(entry: FleetEntry): void {
    this.columns.entry(entry);
    this.#flush();
  }

  #gone(id: number): void {
    this.columns.gone(id);
    this.#show();
    // Its line goes at once.
    this.states += 1;
  }

  #show(): void {
    const counted = totals(this.columns);
    if (!sameTotals(this.totals, counted)) this.totals = counted;
    this.roster = this.columns.roster;
    this.changed.emit();
  }
}
