import { expect, test } from "vitest";
import type { DeviceState } from "../live/types";
import { level } from "./level";
import { containerLook, delivers, deviceLook } from "./state";

test("levels begin at their limit", () => {
  expect(level("disk", 84.9)).toBe("");
  expect(level("disk", 85)).toBe("warn");
  expect(level("disk", 95)).toBe("bad");
  expect(level("cpu", 100)).toBe("warn");
  expect(level("memory", undefined)).toBe("");
});

test("no two device states look the same, and worse weighs more", () => {
  const states: DeviceState[] = [
    "online",
    "slow",
    "stale",
    "unreachable",
    "auth-failed",
    "host-key-changed",
  ];
  const looks = states.map(deviceLook);
  expect(new Set(looks.map((look) => look.shape)).size).toBe(states.length);
  const weights = looks.map((look) => look.weight);
  expect(weights).toEqual([...weights].sort((a, b) => a - b));
  expect(states.filter(delivers)).toEqual(["online", "slow"]);
});

test("a state of a newer hub is shown as it came", () => {
  expect(deviceLook("asleep" as DeviceState).label).toBe("asleep");
});

test("health and exit codes make a container look worse", () => {
  expect(containerLook({ state: "running" }).level).toBe("");
  expect(containerLook({ state: "running", health: "unhealthy" }).level).toBe("bad");
  expect(containerLook({ state: "exited", exitCode: 0 }).level).toBe("");
  expect(containerLook({ state: "exited", exitCode: 137 }).level).toBe("warn");
});
