import type { DeviceEntry } from "../live/types";

/** What the summary line counts. */
export interface Totals {
  devices: number;
  online: number;
  slow: number;
  stale: number;
  unreachable: number;
  containers: number;
  running: number;
  unhealthy: number;
}

export function totals(entries: Iterable<DeviceEntry>): Totals {
  const sum: Totals = {
    devices: 0,
    online: 0,
    slow: 0,
    stale: 0,
    unreachable: 0,
    containers: 0,
    running: 0,
    unhealthy: 0,
  };
  for (const { state, containers } of entries) {
    sum.devices += 1;
    if (state === "online" || state === "slow" || state === "stale") sum[state] += 1;
    else sum.unreachable += 1;
    sum.containers += containers.total;
    sum.running += containers.running;
    sum.unhealthy += containers.unhealthy;
  }
  return sum;
}
