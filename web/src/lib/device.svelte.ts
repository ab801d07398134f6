/** One device as the hub tells it: what it is, its newest sample, its containers, its charts. */
import { Bands } from "./charts/bands";
import { Columns } from "./charts/columns";
import type { Feed } from "./charts/feed";
import { DEVICE_SERIES, type DeviceSeries } from "./charts/panels";
import { perFrame } from "./frame";
import type { LiveClient } from "./live/client";
import { Emitter } from "./live/emitter";
import { Freshness } from "./live/freshness";
import type { Handlers } from "./live/room";
import type {
  Container,
  Device,
  DeviceData,
  ErrorBody,
  LogVolume,
  Process,
  Sample,
} from "./live/types";
import { known } from "./known";

export class ContainerRow {
  container: Container;
  /** How much it logs; undefined where its log is not followed. */
  volume = $state.raw<LogVolume>();

  constructor(container: Container) {
    this.container = $state.raw(container);
  }
}

export class DeviceModel implements Feed<DeviceSeries> {
  device = $state.raw<Device>();
  sample = $state.raw<Sample | null>(null);
  /** The busiest processes; they come with some samples only, and hold until the next come. */
  processes = $state.raw<Process[]>();
  /** Replaced when a container comes or goes; a change of one stays within its row. */
  containers = $state.raw<ContainerRow[]>([]);
  refusal = $state.raw<ErrorBody>();
  /** Figures that this device has ever given; others get no chart. */
  present = $state.raw<ReadonlySet<DeviceSeries>>(new Set());

  readonly columns = new Columns<DeviceSeries>(DEVICE_SERIES);
  readonly bands = new Bands();
  readonly changed = new Emitter<void>();
  readonly fresh = new Freshness();
  /** When a container last changed, epoch milliseconds by the local clock. */
  containersAt: number | undefined;
  /** When the processes came, by the same clock. */
  processesAt: number | undefined;

  #rows = new Map<string, ContainerRow>();
  #waiting = new Map<string, Container>();
  #sample: Sample | null = null;
  #processes: Process[] | undefined;
  #flush = perFrame(() => this.#show());

  constructor(
    private readonly live: LiveClient,
    readonly uuid: string,
  ) {}

  watch(): () => void {
    const handler: Handlers["device"] = {
      snapshot: (data) => this.#snapshot(data),
      stats: (sample) => this.#stats(sample),
      container: (container) => this.#change(container),
      device: (device) => (this.device = device),
      gone: () => {
        this.refusal = { code: "NOT_FOUND", message: "This device was removed." };
      },
      refused: (error) => (this.refusal = error),
    };
    return this.live.watch({ type: "device", id: this.uuid }, handler);
  }

  /** What the containers log, by their ids. */
  logged(volumes: ReadonlyMap<string, LogVolume>): void {
    for (const [id, row] of this.#rows) row.volume = volumes.get(id);
  }

  #snapshot(data: DeviceData): void {
    this.refusal = undefined;
    this.device = data.device;
    this.columns.load(data.recent);
    this.bands.load(data.summaries);
    this.#sample = data.sample;
    this.fresh.snapshot(data.sample, data.device.state, Date.now(), this.live.skew);
    this.containersAt = this.fresh.at;
    this.#noteProcesses(data.sample);
    const there = new Set(data.containers.map((container) => container.containerId));
    for (const id of [...this.#rows.keys()]) {
      if (!there.has(id)) this.#rows.delete(id);
    }
    this.#waiting = new Map(data.containers.map((container) => [container.containerId, container]));
    known.containers(data.device, data.containers);
    this.#show();
  }

  #stats(sample: Sample): void {
    this.#sample = sample;
    this.fresh.next(sample, sample.state, Date.now(), this.live.skew);
    this.#noteProcesses(sample);
    this.columns.push(Date.parse(sample.sampledAt), (name) => figure(sample, name));
    this.#flush();
  }

  #change(container: Container): void {
    this.containersAt = Date.now();
    this.#waiting.set(container.containerId, container);
    if (this.device) known.containers(this.device, [container]);
    this.#flush();
  }

  #noteProcesses(sample: Sample | null): void {
    if (!sample?.processes) return;
    this.#processes = sample.processes;
    this.processesAt = this.fresh.at;
  }

  #show(): void {
    this.sample = this.#sample;
    this.processes = this.#processes;
    let listed = false;
    for (const [id, container] of this.#waiting) {
      const row = this.#rows.get(id);
      if (container.state === "removed") listed = this.#rows.delete(id) || listed;
      else if (row) row.container = container;
      else {
        this.#rows.set(id, new ContainerRow(container));
        listed = true;
      }
    }
    this.#waiting.clear();
    if (listed || this.containers.length !== this.#rows.size) {
      this.containers = [...this.#rows.values()];
    }
    const present = DEVICE_SERIES.filter((name) => this.columns.has(name));
    if (present.some((name) => !this.present.has(name))) {
      this.present = new Set([...this.present, ...present]);
    }
    this.changed.emit();
  }
}

/** The value of a charted figure in a sample. */
export function figure(sample: Sample, name: DeviceSeries): number | undefined {
  switch (name) {
    case "load1":
      return sample.load?.[0];
    case "pressureCpu":
      return sample.pressure?.cpu;
    case "pressureMemory":
      return sample.pressure?.memory;
    case "pressureIo":
      return sample.pressure?.io;
    default:
      return sample[name];
  }
}
