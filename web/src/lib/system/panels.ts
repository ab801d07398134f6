/** Which charts the hub's own figures have, top to bottom. */
import type { Panel } from "../charts/panels";
import type { System } from "../live/types";

export const SYSTEM_SERIES = [
  "connections",
  "messagesIn",
  "messagesOut",
  "deliveryP50",
  "deliveryP99",
  "errors",
  "closed",
  "backlog",
  "conflated",
  "dropped",
  "cpu",
  "memory",
] as const;

export type SystemSeries = (typeof SYSTEM_SERIES)[number];

export const SYSTEM_PANELS: Panel<SystemSeries>[] = [
  {
    id: "connections",
    title: "Connections",
    kind: "count",
    series: [{ name: "connections", label: "sockets" }],
  },
  {
    id: "messages",
    title: "Messages",
    kind: "perSecond",
    series: [
      { name: "messagesIn", label: "in" },
      { name: "messagesOut", label: "out" },
    ],
  },
  {
    id: "delivery",
    title: "Delivery",
    kind: "latency",
    series: [
      { name: "deliveryP50", label: "p50" },
      { name: "deliveryP99", label: "p99" },
    ],
  },
  {
    id: "errors",
    title: "Errors and closes",
    kind: "perSecond",
    series: [
      { name: "errors", label: "errors" },
      { name: "closed", label: "closed" },
    ],
  },
  {
    id: "backlog",
    title: "Backlog",
    kind: "bytes",
    series: [{ name: "backlog", label: "waiting" }],
  },
  {
    id: "slow",
    title: "Not sent",
    kind: "perSecond",
    series: [
      { name: "conflated", label: "replaced" },
      { name: "dropped", label: "dropped" },
    ],
  },
  {
    id: "cpu",
    title: "CPU of the hub",
    kind: "core",
    series: [{ name: "cpu", label: "of one core" }],
  },
  {
    id: "memory",
    title: "Memory of the hub",
    kind: "bytes",
    series: [{ name: "memory", label: "resident" }],
  },
];

/** The value of a charted figure; undefined where the hub could not tell. */
export function figure(system: System, name: SystemSeries): number | undefined {
  switch (name) {
    case "connections":
      return system.totalConnections;
    case "messagesIn":
      return system.messagesPerSecond.in;
    case "messagesOut":
      return system.messagesPerSecond.out;
    case "deliveryP50":
      return system.delivery.p50;
    case "deliveryP99":
      return system.delivery.p99;
    case "errors":
      return system.errorRate;
    case "closed":
      return closed(system);
    case "backlog":
      return system.backlogBytes;
    case "conflated":
      return system.conflatedPerSecond;
    case "dropped":
      return system.droppedPerSecond;
    case "cpu":
      return system.process.cpu;
    case "memory":
      return system.process.memoryBytes;
  }
}

/** Sessions closed per second, whatever the reason; undefined where one of them is not known. */
function closed(system: System): number | undefined {
  let sum = 0;
  for (const { perSecond } of Object.values(system.closed)) {
    if (perSecond === undefined) return undefined;
    sum += perSecond;
  }
  return sum;
}
