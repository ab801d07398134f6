/** States in words, shapes and levels. The shape says the same as the colour. */
import type { Container, ContainerState, DeviceState } from "../live/types";
import type { Level } from "./level";

/** The marks that `StateMark` can draw. */
export type Shape =
  "disc" | "half" | "ring" | "dashed" | "cross" | "diamond" | "lock" | "pause" | "turn";

export interface Look {
  label: string;
  shape: Shape;
  level: Level;
  /** Greater is worse: the order of "trouble first". */
  weight: number;
}

const DEVICE: Record<DeviceState, Look> = {
  online: { label: "online", shape: "disc", level: "", weight: 0 },
  slow: { label: "slow", shape: "half", level: "warn", weight: 2 },
  stale: { label: "stale", shape: "ring", level: "warn", weight: 3 },
  unreachable: { label: "unreachable", shape: "cross", level: "bad", weight: 5 },
  "auth-failed": { label: "sign-in refused", shape: "lock", level: "bad", weight: 5 },
  "host-key-changed": { label: "host key changed", shape: "diamond", level: "bad", weight: 6 },
};

const CONTAINER: Record<ContainerState, Look> = {
  running: { label: "running", shape: "disc", level: "", weight: 0 },
  created: { label: "created", shape: "dashed", level: "", weight: 1 },
  exited: { label: "exited", shape: "ring", level: "", weight: 1 },
  paused: { label: "paused", shape: "pause", level: "", weight: 2 },
  removing: { label: "removing", shape: "dashed", level: "", weight: 1 },
  removed: { label: "removed", shape: "dashed", level: "", weight: 1 },
  restarting: { label: "restarting", shape: "turn", level: "warn", weight: 4 },
  dead: { label: "dead", shape: "cross", level: "bad", weight: 5 },
  unknown: { label: "unknown", shape: "dashed", level: "", weight: 1 },
};

/** A word that a newer hub says and this page does not know is shown as it came. */
function unknown(label: string): Look {
  return { label, shape: "dashed", level: "", weight: 1 };
}

export function deviceLook(state: DeviceState): Look {
  return DEVICE[state] ?? unknown(state);
}

/** Whether samples come from a device in this state. */
export function delivers(state: DeviceState): boolean {
  return state === "online" || state === "slow";
}

/** How a container looks: its state, made worse by its health and by how it ended. */
export function containerLook(container: Pick<Container, "state" | "health" | "exitCode">): Look {
  const look = CONTAINER[container.state] ?? unknown(container.state);
  if (container.state === "running" && container.health === "unhealthy") {
    return { ...look, shape: "diamond", level: "bad", weight: 5 };
  }
  if (container.state === "exited" && container.exitCode) {
    return { ...look, level: "warn", weight: 3 };
  }
  return look;
}

/** Whether a container's processes exist. */
export function isUp(state: ContainerState): boolean {
  return state === "running" || state === "paused" || state === "restarting";
}
