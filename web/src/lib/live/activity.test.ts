import { expect, test } from "vitest";
import { Activity, BEAT_MS } from "./activity";

test("turning away is said once, coming back at once", () => {
  const activity = new Activity(true);
  expect(activity.say(0)).toBe(true);
  expect(activity.look(false, 100)).toBe(false);
  expect(activity.look(false, 200)).toBeUndefined();
  expect(activity.act(60_000)).toBeUndefined();
  expect(activity.look(true, 60_001)).toBe(true);
  expect(activity.visible).toBe(true);
});

test("input is said at most every five seconds", () => {
  const activity = new Activity(true);
  let said = 0;
  for (let now = 0; now < 60_000; now += 16) if (activity.act(now)) said += 1;
  expect(said).toBe(12);
});

test("focus on a page that was visible all the time counts as input", () => {
  const activity = new Activity(true);
  activity.say(0);
  expect(activity.look(true, BEAT_MS - 1)).toBeUndefined();
  expect(activity.look(true, BEAT_MS)).toBe(true);
});

test("a page that begins hidden says so to each new connection", () => {
  const activity = new Activity(false);
  expect(activity.say(0)).toBe(false);
  expect(activity.act(BEAT_MS)).toBeUndefined();
});
