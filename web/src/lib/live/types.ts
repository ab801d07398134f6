/**
 * What the hub sends: the shapes of its JSON. Percentages are 0–100, sizes bytes, rates bytes per
 * second, temperatures °C, instants ISO 8601. What a host cannot give is absent, never 0.
 */

export type DeviceState =
  "online" | "slow" | "stale" | "unreachable" | "auth-failed" | "host-key-changed";

export interface Mount {
  path: string;
  fs?: string;
  used: number;
  total: number;
}

export interface Interface {
  name: string;
  in: number;
  out: number;
}

export interface Process {
  pid: number;
  name: string;
  /** Percent of one core. */
  cpu: number;
  memory: number;
}

/** One reading of a device. */
export interface Sample {
  deviceUuid: string;
  id: number;
  sampledAt: string;
  state: DeviceState;
  cpu?: number;
  cores?: number[];
  iowait?: number;
  steal?: number;
  load?: [number, number, number];
  memory?: number;
  memoryUsed?: number;
  memoryTotal?: number;
  swap?: number;
  disk?: number;
  mounts?: Mount[];
  diskRead?: number;
  diskWrite?: number;
  temperature?: number;
  networkIn?: number;
  networkOut?: number;
  interfaces?: Interface[];
  /** Share of the last 10 s in which some task waited, percent. */
  pressure?: { cpu?: number; memory?: number; io?: number };
  /** Seconds since boot. */
  uptime?: number;
  processes?: Process[];
}

export type EngineState = "unknown" | "connected" | "absent" | "denied" | "error";

export interface Engine {
  state: EngineState;
  kind?: "docker" | "podman";
  version?: string;
  endpoint?: string;
  /** What is wrong and what to do, where it cannot be read. */
  message?: string;
  since: string;
}

export interface Device {
  deviceUuid: string;
  id: number;
  name: string;
  tags: string[];
  source: string;
  state: DeviceState;
  stateReason?: string;
  stateSince: string;
  hostname: string;
  os?: string;
  kernel?: string;
  arch?: string;
  cpuModel?: string;
  cpuCount?: number;
  bootedAt?: string;
  engine: Engine;
}

export type ContainerState =
  | "created"
  | "running"
  | "paused"
  | "restarting"
  | "exited"
  | "removing"
  | "dead"
  | "removed"
  | "unknown";

export type Health = "starting" | "healthy" | "unhealthy";

export interface Container {
  deviceUuid: string;
  containerId: string;
  name: string;
  image: string;
  project?: string;
  service?: string;
  state: ContainerState;
  /** For people, as `docker ps` says it. */
  status: string;
  health?: Health;
  exitCode?: number;
  createdAt?: string;
  startedAt?: string;
  restartCount?: number;
  /** Percent of one core. */
  cpu?: number;
  memory?: number;
  memoryLimit?: number;
  networkIn?: number;
  networkOut?: number;
  blockRead?: number;
  blockWrite?: number;
  pids?: number;
}

export interface ContainerCounts {
  running: number;
  total: number;
  unhealthy: number;
}

/** A device that was taken out of the inventory. */
export interface GoneDevice {
  deviceUuid: string;
  id: number;
  name: string;
}

/** What the fleet tells of a device besides its figures. */
export interface FleetEntry {
  deviceUuid: string;
  id: number;
  name: string;
  tags: string[];
  state: DeviceState;
  containers: ContainerCounts;
}

/** Figures that the fleet shows. */
export type FleetFigure = "cpu" | "memory" | "disk" | "temperature" | "networkIn" | "networkOut";

/** A device in the fleet's first state; without `sampledAt` nothing was read of it yet. */
export type FleetDevice = FleetEntry & Partial<Pick<Sample, "sampledAt" | FleetFigure>>;

/** Columns of the last minutes: `t` in epoch milliseconds, absent values null. */
export type Recent = { t: number[] } & Record<string, (number | null)[]>;

export interface FleetData {
  devices: FleetDevice[];
}

/** Half minutes that nobody watched, in columns: each ends at `t`, epoch milliseconds. */
export type Summaries = { t: number[]; seconds: number[]; samples: number[] } & Record<
  string,
  number[] | { min: (number | null)[]; max: (number | null)[] }
>;

export interface DeviceData {
  device: Device;
  sample: Sample | null;
  containers: Container[];
  recent: Recent;
  summaries?: Summaries;
}

export interface ContainerData {
  container: Container;
  device: { deviceUuid: string; name: string };
  recent: Recent;
  /** Where its log is followed. */
  logVolume?: LogVolume;
}

/** A figure for each direction, seen from the hub. */
export interface InOut {
  in?: number;
  out?: number;
}

/** How often something happens, and has happened. */
export interface Tally {
  perSecond?: number;
  total: number;
}

export interface EventRate {
  event: string;
  direction: "in" | "out";
  perSecond: number;
}

/** The hub's own figures; rates are per second over `interval`. */
export interface System {
  sampledAt: string;
  totalConnections: number;
  connectionsByNamespace: Record<string, number>;
  messagesPerSecond: InOut;
  /** Bytes. */
  averageMessageSize: InOut;
  errorRate?: number;
  errors: Record<string, Tally>;
  topEvents: EventRate[];
  clientDistribution: {
    byTransport: Record<string, number>;
    byRoomType: Record<string, number>;
  };
  closed: Record<string, Tally>;
  /** From the publish to the write, seconds. */
  delivery: { p50?: number; p99?: number };
  backlogBytes: number;
  conflatedPerSecond?: number;
  droppedPerSecond?: number;
  process: {
    /** Percent of one core. */
    cpu?: number;
    memoryBytes?: number;
    openFiles?: number;
    openFilesLimit?: number;
    threads?: number;
  };
  /** Seconds. */
  uptime: number;
  /** Seconds. */
  interval: number;
  version: string;
}

export interface SystemData {
  /** Null in a hub's first second. */
  system: System | null;
  recent: Recent;
}

export interface InitialData {
  type: RoomType;
  id: string;
  data: unknown;
  epoch: string;
  seq: number;
}

/** Every room event but a batch. */
export interface Envelope {
  room: string;
  event: string;
  data: unknown;
  timestamp: string;
  epoch: string;
  seq: number;
}

/** What comes beside the bytes of a binary frame. */
export interface FrameHead {
  room: string;
  format: "metr" | "protobuf";
  version: number;
  timestamp: string | number;
  epoch: string;
  seq: number;
}

export type ErrorCode =
  | "UNAUTHORIZED"
  | "NOT_FOUND"
  | "BAD_REQUEST"
  | "TOO_MANY_SUBSCRIPTIONS"
  | "RATE_LIMITED"
  | "UNAVAILABLE";

export interface ErrorBody {
  code: ErrorCode;
  message: string;
}

export interface Ack {
  ok: boolean;
  room?: string;
  epoch?: string;
  seq?: number;
  error?: ErrorBody;
}

export type LogLevel = "trace" | "debug" | "info" | "warn" | "error" | "fatal";

export type LogOutput = "stdout" | "stderr";

/** What happened to a container between two of its lines. */
export type LogMarker = "started" | "stopped" | "recreated" | "lost";

export type FieldValue = string | number | boolean | null;

/** An entry of a log: a line, or several that belong together, such as a stack trace. */
export interface LogLine {
  seq: number;
  timestamp: string;
  level?: LogLevel;
  /** For reading: without escape sequences; of JSON and logfmt the message alone. */
  message: string;
  /** What else a JSON or logfmt line says. */
  fields?: Record<string, FieldValue>;
  stream: LogOutput;
  /** As it came, where that differs from the message. */
  raw?: string;
  /** Bytes left off at the end. */
  cut?: number;
  /** The hub wrote it: what happened here. */
  marker?: LogMarker;
  /** Whose line it is, in a log of several: `deviceUuid:containerId`. */
  streamId?: string;
}

/** A container whose lines are in a log of several. */
export interface LogMember {
  streamId: string;
  deviceUuid: string;
  containerId: string;
  name: string;
  deviceName: string;
  project?: string;
  service?: string;
  state: ContainerState;
}

export interface LogsData {
  members: LogMember[];
  /** How many more there are that are not followed. */
  truncated: number;
}

/** How much a container writes. */
export interface LogVolume {
  linesPerSecond: number;
  bytesPerSecond: number;
  /** Since its log is followed. */
  lines: number;
  bytes: number;
  dropped: number;
  /** From the line's own time to the hub's. */
  lagMs?: number;
}

export interface StreamVolume extends LogVolume {
  streamId: string;
  deviceUuid: string;
  deviceName: string;
  containerId: string;
  name: string;
  project?: string;
  service?: string;
}

export interface Volumes {
  /** The noisiest first. */
  streams: StreamVolume[];
  total: { linesPerSecond: number; bytesPerSecond: number; streams: number };
}

export interface LogHistory {
  /** Given where the log is of several. */
  room?: string;
  streamId: string;
  epoch: string;
  logs: LogLine[];
  complete: boolean;
}

export interface LogBatch {
  room?: string;
  streamId: string;
  logs: LogLine[];
  timestamp: number;
}

export interface LogGap {
  room?: string;
  streamId: string;
  fromSeq: number;
  toSeq: number;
  dropped: number;
}

/** Which lines the hub sends. */
export interface LogFilters {
  /** At least this grave. */
  level?: LogLevel;
  text?: string;
  regex?: string;
  /** Lines in which neither `text` nor `regex` is found. */
  inverse?: boolean;
  stream?: LogOutput;
  fields?: Record<string, string>;
}

export interface LogOptions {
  tail?: number;
  since?: { epoch: string; seq: number };
  filters?: LogFilters;
}

export type RoomType = "fleet" | "device" | "container" | "system" | "logs";

/** What to subscribe to, and how it is wanted; the fleet and the system have no id. */
export interface Target {
  type: RoomType;
  id?: string;
  options?: { format: "metr"; version: number };
}
