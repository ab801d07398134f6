import { expect, test } from "vitest";
import { Sparks } from "./sparks";

function read(sparks: Sparks, device: number, endMs: number): [number, number][] {
  const points: [number, number][] = [];
  sparks.each(device, endMs, (ago, value) => points.push([ago, value]));
  return points;
}

test("keeps each device's last minute, oldest first, and what is missing stays missing", () => {
  const sparks = new Sparks();
  const devices = Array.from({ length: 9 }, () => sparks.add());
  const start = 1_795_000_000_000;
  for (const device of devices) {
    for (let second = 0; second < 100; second += 1) {
      if (second === 98) continue;
      sparks.push(device, start + second * 1_000, device * 10);
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

test("a number that was given back remembers nothing", () => {
  const sparks = new Sparks();
  const device = sparks.add();
  sparks.push(device, 60_000, 5);
  sparks.push(device, 61_000, undefined);
  sparks.push(device, NaN, 5);
  expect(read(sparks, device, 61_000)).toEqual([[1, 5]]);
  sparks.remove(device);
  expect(sparks.add()).toBe(device);
  expect(read(sparks, device, 61_000)).toEqual([]);
});
