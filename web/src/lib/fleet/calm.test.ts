import { expect, test } from "vitest";
import { Calm, LEAVE_MS, REST_MS } from "./calm";

test("figures move rows every five seconds, changes after one", () => {
  const calm = new Calm();
  expect(calm.due(0, 0, false)).toBe(true);
  calm.renewed(0, 0);
  expect(calm.due(4_999, 0, true)).toBe(false);
  expect(calm.due(5_000, 0, true)).toBe(true);
  expect(calm.due(60_000, 0, false)).toBe(false);
  expect(calm.due(999, 1, true)).toBe(false);
  expect(calm.due(1_000, 1, false)).toBe(true);
});

test("rows stand while somebody is among them, and for a minute of rest", () => {
  const calm = new Calm();
  calm.touch(10_000);
  expect(calm.held(10_000 + REST_MS - 1)).toBe(true);
  expect(calm.due(10_000 + REST_MS - 1, 7, true)).toBe(false);
  expect(calm.due(10_000 + REST_MS, 7, true)).toBe(true);
});

test("who leaves gives them free soon, and not later than rest would", () => {
  const calm = new Calm();
  calm.touch(0);
  calm.leave(1_000);
  expect(calm.held(1_000 + LEAVE_MS - 1)).toBe(true);
  expect(calm.held(1_000 + LEAVE_MS)).toBe(false);
  calm.touch(0);
  calm.leave(REST_MS - 1);
  expect(calm.held(REST_MS)).toBe(false);
});
