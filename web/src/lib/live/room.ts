import { Position } from "./position";
import type {
  Container,
  ContainerData,
  DashboardData,
  Device,
  DeviceData,
  DeviceEntry,
  ErrorBody,
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

/** What a view is told of a room, by the room's type. */
export interface Handlers {
  dashboard: Refusable & {
    snapshot(data: DashboardData): void;
    batch(updates: DeviceEntry[]): void;
  };
  device: Refusable & {
    snapshot(data: DeviceData): void;
    stats(sample: Sample): void;
    container(container: Container): void;
    device(device: Device): void;
  };
  container: Refusable & {
    snapshot(data: ContainerData): void;
    change(container: Container): void;
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
  batchUpdate: "batch",
  system: "figures",
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

  refused(error: ErrorBody): void {
    for (const handler of this.handlers) handler.refused(error);
  }
}
