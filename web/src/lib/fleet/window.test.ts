import { expect, test } from "vitest";
import { scrollTo, windowOf } from "./window";

test("draws what can be seen and eight lines or some more around it, of any list", () => {
  expect(windowOf(0, 280, 28, 1_000)).toEqual({ first: 0, last: 20 });
  expect(windowOf(2_800, 280, 28, 1_000)).toEqual({ first: 92, last: 120 });
  expect(windowOf(28 * 990, 280, 28, 1_000)).toEqual({ first: 980, last: 1_000 });
  // Seldom another window: not with each line.
  expect(windowOf(2_800 + 27, 280, 28, 1_000)).toEqual({ first: 92, last: 120 });
  expect(windowOf(0, 280, 28, 3)).toEqual({ first: 0, last: 3 });
  expect(windowOf(0, 280, 28, 0)).toEqual({ first: 0, last: 0 });
  // A list that became shorter than the place it was scrolled to.
  expect(windowOf(28_000, 280, 28, 5)).toEqual({ first: 0, last: 5 });
});

test("scrolls no further than needed, and under no head", () => {
  expect(scrollTo(50, 0, 308, 28, 28)).toBe(28 * 51 - 280);
  expect(scrollTo(50, 28 * 45, 308, 28, 28)).toBe(28 * 45);
  expect(scrollTo(50, 28 * 60, 308, 28, 28)).toBe(28 * 50);
  expect(scrollTo(0, 500, 308, 28, 28)).toBe(0);
});
