/** The states by their numbers in {@link Columns.state}. */
export const STATES = [
  "online",
  "slow",
  "stale",
  "unreachable",
  "auth-failed",
  "host-key-changed",
] as const;

/**
 * Readings of many devices, one array for each value: the device at place `i` has the values at
 * `i`. A value that the host cannot give is NaN.
 */
export interface Columns {
  /** The devices' short numbers, by rising number in version 2. */
  readonly id: Float64Array;
  /** When the host was read, in milliseconds since the epoch. */
  readonly sampledAt: Float64Array;
  /** An index into {@link STATES}. */
  readonly state: Uint8Array;
  /** Percent of all cores. */
  readonly cpu: Float32Array;
  /** Percent. */
  readonly memory: Float32Array;
  /** Percent of the root filesystem. */
  readonly disk: Float32Array;
  /** °C. */
  readonly temperature: Float32Array;
  /** Bytes per second. */
  readonly networkIn: Float64Array;
  /** Bytes per second. */
  readonly networkOut: Float64Array;
}

/** Room for so many devices. */
export function newColumns(size: number): Columns {
  return {
    id: new Float64Array(size),
    sampledAt: new Float64Array(size),
    state: new Uint8Array(size),
    cpu: new Float32Array(size),
    memory: new Float32Array(size),
    disk: new Float32Array(size),
    temperature: new Float32Array(size),
    networkIn: new Float64Array(size),
    networkOut: new Float64Array(size),
  };
}
