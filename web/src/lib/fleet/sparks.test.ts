import { expect, test } from "vitest";
import { Sparks } from "./sparks";

function read(sparks: Sparks, slot: number, endMs: number): [number, number][] {
  const points: [number, number][] = [];
  sparks.each(slot, endMs, (ago, value) => points.push([ago, value]));
  return points;
}

test("keeps each slot's last minute, oldest first, and what is missing stays missing", () => {
  const sparks = new Sparks();
  const start = 1_795_000_000_000;
  for (let slot = 0; slot < 9; slot += 1) {
    for (let second = 0; second < 100; second += 1) {
      if (second === 98) continue;
      sparks.push(slot, start + second * 1_000, slot * 10);
    }
  }
  const points = read(sparks, 4, start + 99_500);
  expect(points.length).toBe(59);
  expect(points[0]).toEqual([59, 40]);
  expect(points.slice(-2)).toEqual([
    [2, 40],
    [0, 40],
  ]);
  expect(read(sparks, 4, start + 300_000)).toEqual([]);
});

test("a slot that was cleared remembers nothing", () => {
  const sparks = new Sparks();
  sparks.push(3, 60_000, 5);
  sparks.push(3, 61_000, undefined);
  sparks.push(3, 61_000, NaN);
  sparks.push(3, NaN, 5);
  expect(read(sparks, 3, 61_000)).toEqual([[1, 5]]);
  sparks.clear(3);
  expect(read(sparks, 3, 61_000)).toEqual([]);
});
