/** One container as the hub tells it: its state, its newest figures, its charts. */
import { Columns } from "./charts/columns";
import type { Feed } from "./charts/feed";
import { CONTAINER_SERIES, type ContainerSeries } from "./charts/panels";
import { perFrame } from "./frame";
import type { LiveClient } from "./live/client";
import { Emitter } from "./live/emitter";
import type { Handlers } from "./live/room";
import { LogModel } from "./logs/log.svelte";
import type { Container, ContainerData, ErrorBody, LogVolume } from "./live/types";

export class ContainerModel implements Feed<ContainerSeries> {
  container = $state.raw<Container>();
  device = $state.raw<ContainerData["device"]>();
  refusal = $state.raw<ErrorBody>();

  readonly columns = new Columns<ContainerSeries>(CONTAINER_SERIES);
  readonly changed = new Emitter<void>();
  readonly log: LogModel;
  /** How much it writes, while its log is followed; and when that came. */
  volume = $state.raw<LogVolume>();
  volumeAt: number | undefined;
  /** When its last change came, epoch milliseconds by the local clock. */
  changedAt: number | undefined;

  #container: Container | undefined;
  #flush = perFrame(() => this.#show());

  constructor(
    private readonly live: LiveClient,
    readonly id: string,
  ) {
    this.log = new LogModel(() => live.again({ type: "container", id }));
  }

  watch(): () => void {
    const handler: Handlers["container"] = {
      snapshot: (data) => this.#snapshot(data),
      change: (container) => this.#change(container),
      refused: (error) => {
        if (!this.log.refused(error)) this.refusal = error;
      },
      volume: (volume) => this.#logged(volume),
      log: this.log,
    };
    const stop = this.live.watch({ type: "container", id: this.id }, handler);
    return () => {
      stop();
      this.log.leave();
    };
  }

  #snapshot(data: ContainerData): void {
    this.refusal = undefined;
    this.device = data.device;
    this.log.storedAs({ stream: `${data.device.deviceUuid}:${data.container.containerId}` });
    this.columns.load(data.recent);
    if (data.logVolume) this.#logged(data.logVolume);
    this.#container = data.container;
    this.changedAt = Date.now();
    this.#show();
  }

  #logged(volume: LogVolume): void {
    this.volume = volume;
    this.volumeAt = Date.now();
  }

  #change(container: Container): void {
    const now = Date.now();
    this.#container = container;
    this.changedAt = now;
    if (container.cpu !== undefined || container.memory !== undefined) {
      // A container's figures carry no time of their own; its chart keeps the hub's clock.
      this.columns.push(this.live.skew.toHub(now), (name) => container[name]);
    }
    this.#flush();
  }

  #show(): void {
    this.container = this.#container;
    this.changed.emit();
  }
}
