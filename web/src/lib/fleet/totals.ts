import type { FleetColumns } from "./columns";

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

export function totals(columns: FleetColumns): Totals {
  const sum: Totals = {
    devices: columns.size,
    online: 0,
    slow: 0,
    stale: 0,
    unreachable: 0,
    containers: 0,
    running: 0,
    unhealthy: 0,
  };
  for (const slot of columns.slots()) {
    const state = columns.states[slot];
    if (state === "online" || state === "slow" || state === "stale") sum[state] += 1;
    else sum.unreachable += 1;
    sum.containers += columns.total(slot);
    sum.running += columns.running(slot);
    sum.unhealthy += columns.unhealthy(slot);
  }
  return sum;
}

/** Whether the same was counted. */
export function sameTotals(a: Totals | undefined, b: Totals): boolean {
  return a !== undefined && Object.entries(b).every(([key, n]) => a[key as keyof Totals] === n);
}
