import { expect, test } from "vitest";
import { age, duration, isStale, moment } from "./age";

test.each([
  [-500, "0.0 s"],
  [400, "0.4 s"],
  [9_940, "9.9 s"],
  [9_960, "10 s"],
  [59_999, "59 s"],
  [60_000, "1 min"],
  [3_599_999, "59 min"],
  [47 * 3_600_000, "47 h"],
  [48 * 3_600_000, "2 d"],
])("an age of %s ms", (ms, said) => expect(age(ms)).toBe(said));

test.each([
  [0, "0 s"],
  [59_000, "59 s"],
  [60_000, "1 min"],
  [725_000, "12 min 5 s"],
  [273_600_000, "3 d 4 h"],
])("a duration of %s ms", (ms, said) => expect(duration(ms)).toBe(said));

test("stale after three periods, and not sooner than three seconds", () => {
  expect(isStale(2_999, 1_000)).toBe(false);
  expect(isStale(3_000, 1_000)).toBe(true);
  expect(isStale(2_000, 100)).toBe(false);
  expect(isStale(89_000, 30_000)).toBe(false);
  expect(isStale(90_000, 30_000)).toBe(true);
});

test("a moment that is none", () => expect(moment("never")).toBe("–"));
