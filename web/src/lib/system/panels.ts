/** Which charts the hub's own figures have, top to bottom. */
import { panel, type Panel } from "../charts/panel";
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
  panel("connections", "Connections", "count", { connections: "sockets" }),
  panel("messages", "Messages", "perSecond", { messagesIn: "in", messagesOut: "out" }),
  panel("delivery", "Delivery", "latency", { deliveryP50: "p50", deliveryP99: "p99" }),
  panel("errors", "Errors and closes", "perSecond", { errors: "errors", closed: "closed" }),
  panel("backlog", "Backlog", "bytes", { backlog: "waiting" }),
  panel("slow", "Not sent", "perSecond", { conflated: "replaced", dropped: "dropped" }),
  panel("cpu", "CPU of the hub", "core", { cpu: "of one core" }),
  panel("memory", "Memory of the hub", "bytes", { memory: "resident" }),
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
