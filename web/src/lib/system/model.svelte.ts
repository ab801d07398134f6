/** The hub's own figures as it tells them. */
import { Columns } from "../charts/columns";
import type { Feed } from "../charts/feed";
import { perFrame } from "../frame";
import type { LiveClient } from "../live/client";
import { Emitter } from "../live/emitter";
import { Freshness } from "../live/freshness";
import type { Handlers } from "../live/room";
import type { ErrorBody, EventRate, System, SystemData } from "../live/types";
import { Busiest } from "./busiest";
import { figure, SYSTEM_SERIES, type SystemSeries } from "./panels";

export class SystemModel implements Feed<SystemSeries> {
  system = $state.raw<System | null>(null);
  /** The busiest events, their rates means of the last seconds. */
  busiest = $state.raw<EventRate[]>([]);
  refusal = $state.raw<ErrorBody>();
  /** Whether the room's state has come. */
  loaded = $state(false);

  readonly columns = new Columns<SystemSeries>(SYSTEM_SERIES);
  readonly changed = new Emitter<void>();
  readonly fresh = new Freshness();

  #system: System | null = null;
  #rows: EventRate[] = [];
  #events = new Busiest();
  #flush = perFrame(() => this.#show());

  constructor(private readonly live: LiveClient) {}

  watch(): () => void {
    const handler: Handlers["system"] = {
      snapshot: (data) => this.#snapshot(data),
      figures: (system) => this.#figures(system),
      refused: (error) => (this.refusal = error),
    };
    return this.live.watch({ type: "system" }, handler);
  }

  #snapshot({ system, recent }: SystemData): void {
    this.refusal = undefined;
    this.columns.load(recent);
    this.fresh.snapshot(system, "online", Date.now(), this.live.skew);
    this.#system = system;
    this.#events.clear();
    this.#rows = this.#events.push(system?.topEvents ?? []);
    this.loaded = true;
    this.#show();
  }

  #figures(system: System): void {
    this.fresh.next(system, "online", Date.now(), this.live.skew);
    this.columns.push(Date.parse(system.sampledAt), (name) => figure(system, name));
    this.#system = system;
    this.#rows = this.#events.push(system.topEvents);
    this.#flush();
  }

  #show(): void {
    this.system = this.#system;
    this.busiest = this.#rows;
    this.changed.emit();
  }
}
