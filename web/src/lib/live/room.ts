import { Position } from "./position";
import type {
  Container,
  ContainerData,
  Device,
  DeviceData,
  ErrorBody,
  FleetData,
  FleetEntry,
  GoneDevice,
  LogBatch,
  LogGap,
  LogHistory,
  LogOptions,
  LogsData,
  LogVolume,
  RoomType,
  Sample,
  System,
  SystemData,
  Target,
} from "./types";

interface Refusable {
  /** The hub refused the subscription: what is asked for is not there, or not for us. */
  refused(error: ErrorBody): void;
}

/** Who follows a log: a container's besides its state, or one of several containers. */
export interface LogHandler {
  /** What is wanted now; asked for at each subscribe. */
  wanted(): LogOptions;
  /** The hub has answered the last of these wishes, well or not. */
  answered(): void;
  /** The connection is gone, and with it the answers that have not come. */
  lost(): void;
  history(history: LogHistory): void;
  batch(batch: LogBatch): void;
  gap(gap: LogGap): void;
  /** The hub cannot read this log. */
  unavailable(error: ErrorBody): void;
}

/** What a view is told of a room, by the room's type. */
export interface Handlers {
  fleet: Refusable & {
    snapshot(data: FleetData): void;
    /** A binary frame of figures. False asks for the state again: the frame cannot be placed. */
    frame(bytes: Uint8Array): boolean;
    entry(entry: FleetEntry): void;
    /** A device was taken out of the inventory. */
    gone(device: GoneDevice): void;
  };
  device: Refusable & {
    snapshot(data: DeviceData): void;
    stats(sample: Sample): void;
    container(container: Container): void;
    device(device: Device): void;
    gone(device: GoneDevice): void;
  };
  container: Refusable & {
    snapshot(data: ContainerData): void;
    change(container: Container): void;
    /** How much it writes; while its log is followed. */
    volume?(volume: LogVolume): void;
    log?: LogHandler;
  };
  logs: Refusable & {
    snapshot(data: LogsData): void;
    /** Containers came or went. */
    members(data: LogsData): void;
    log: LogHandler;
  };
  system: Refusable & {
    snapshot(data: SystemData): void;
    figures(system: System): void;
  };
}

export type AnyHandler = Handlers[RoomType];

/** Which method of a handler gets which event of the hub. */
export const METHODS = {
  stats: "stats",
  containerUpdate: "container",
  deviceUpdate: "device",
  statusChange: "change",
  deviceEntry: "entry",
  deviceRemoved: "gone",
  system: "figures",
  logMembers: "members",
  logVolume: "volume",
} as const;

export type RoomEvent = keyof typeof METHODS;

export function roomName(target: Target): string {
  return `${target.type}:${target.id ?? "main"}`;
}

/** A room that somebody here watches. */
export class Room {
  readonly position = new Position();
  readonly handlers = new Set<AnyHandler>();
  /** When its state was last asked for, epoch milliseconds. */
  askedAt = 0;
  /** Asks for the state again, after a gap. */
  resync: ReturnType<typeof setTimeout> | undefined;

  constructor(readonly target: Target) {}

  /**
   * Whether each event stands for those before it of its kind. When the way is full, the hub puts a
   * newer frame in the place of a waiting one, and it counts all logs of several as one: numbers are
   * then missing or out of order, and nothing is lost.
   */
  get sparse(): boolean {
    return this.target.type === "fleet" || this.target.type === "logs";
  }

  snapshot(data: unknown): void {
    for (const handler of this.handlers) (handler.snapshot as (data: unknown) => void)(data);
  }

  event(event: RoomEvent, data: unknown): void {
    const method = METHODS[event];
    for (const handler of this.handlers) {
      const methods = handler as unknown as Record<string, ((data: unknown) => void) | undefined>;
      methods[method]?.(data);
    }
  }

  /** Who follows the log. */
  *logs(): Iterable<LogHandler> {
    for (const handler of this.handlers) if ("log" in handler && handler.log) yield handler.log;
  }

  /** What to send to the hub. */
  request(): object {
    const [log] = this.logs();
    if (!log) return this.target;
    return { ...this.target, options: { ...this.target.options, logs: log.wanted() } };
  }

  /** Whether everybody could place the frame. */
  frame(bytes: Uint8Array): boolean {
    let placed = true;
    for (const handler of this.handlers) {
      if ("frame" in handler && !handler.frame(bytes)) placed = false;
    }
    return placed;
  }

  refused(error: ErrorBody): void {
    for (const handler of this.handlers) handler.refused(error);
  }
}
