import { describe, expect, test } from "vitest";
import { Bands } from "./bands";
import { Columns } from "./columns";
import { parseZoom, visible, zoomText } from "./feed";
import { isGap, withGaps } from "./gaps";
import { minutes } from "./minutes";
import { top } from "./scale";

describe("columns", () => {
  test("load what the hub remembers and go on from there", () => {
    const columns = new Columns(["cpu", "memory"] as const);
    columns.load({ t: [1_000, 2_000], cpu: [1, null], memory: [5] });
    columns.push(3_000, (name) => (name === "cpu" ? 3 : undefined));
    expect([...columns.times()]).toEqual([1_000, 2_000, 3_000]);
    expect([...columns.values("cpu")]).toEqual([1, NaN, 3]);
    expect([...columns.values("memory")]).toEqual([5, NaN, NaN]);
    expect([columns.last("cpu"), columns.last("memory")]).toEqual([3, undefined]);
    expect(columns.has("memory")).toBe(true);
  });

  test("hold ten minutes, for as long as one likes", () => {
    const columns = new Columns(["cpu"] as const);
    for (let second = 0; second < 10_000; second += 1) columns.push(second * 1_000, () => second);
    expect(columns.length).toBe(601);
    expect(columns.times()[0]).toBe(9_399_000);
    expect(columns.values("cpu")[0]).toBe(9_399);
    expect(columns.last("cpu")).toBe(9_999);
  });

  test("stay bounded when points come too fast", () => {
    const columns = new Columns(["cpu"] as const);
    for (let i = 0; i < 5_000; i += 1) columns.push(i * 501, () => i);
    expect(columns.length).toBeLessThanOrEqual(700);
  });

  test("a point close to the last replaces it; a clock set back begins anew", () => {
    const columns = new Columns(["cpu"] as const);
    columns.push(1_000, () => 1);
    columns.push(1_100, () => 2);
    expect([...columns.values("cpu")]).toEqual([2]);
    columns.push(500, () => 3);
    columns.push(NaN, () => 4);
    expect([...columns.times()]).toEqual([500]);
  });
});

describe("gaps", () => {
  test.each([
    ["a steady second", [0, 1, 2, 3], []],
    ["an outage", [0, 1, 41, 42], [2]],
    ["half a minute's pace", [0, 30, 60, 90], []],
    ["from a slow pace to a fast one", [0, 30, 60, 61, 62], []],
    ["from a fast pace to a slow one", [0, 1, 2, 32, 62], []],
    ["jitter", [0, 1.4, 2, 3.9], []],
    ["at the end", [0, 1, 2, 20], [3]],
  ])("%s", (_name, seconds, expected) => {
    const t = seconds.map((s) => s * 1_000);
    expect(t.map((_, i) => i).filter((i) => i > 0 && isGap(t, i))).toEqual(expected);
  });

  test("are drawn as nothing", () => {
    const t = new Float64Array([0, 1_000, 41_000, 42_000]);
    const cpu = new Float64Array([1, NaN, 3, 4]);
    expect(withGaps(t, [cpu])).toEqual([
      [0, 1_000, 21_000, 41_000, 42_000],
      [1, null, null, 3, 4],
    ]);
  });
});

test("the top of an axis is round and not below the values", () => {
  expect(top("percent", 3.2)).toBe(5);
  expect(top("percent", 100)).toBe(100);
  expect(top("share", 3)).toBe(100);
  expect(top("core", 130)).toBe(200);
  expect(top("rate", 1_700)).toBe(2_000);
  expect(top("rate", null)).toBe(1_000);
  expect(top("bytes", 300 * 1024 ** 2)).toBe(500 * 1024 ** 2);
  expect([0, 11, 21, 130, 10_000].map((n) => top("count", n))).toEqual([10, 20, 40, 200, 10_000]);
  expect([0, 3, 21].map((n) => top("perSecond", n))).toEqual([1, 5, 25]);
  expect(top("latency", 0.000_2)).toBeCloseTo(0.001);
  expect(top("latency", 0.012)).toBeCloseTo(0.02);
  for (let value = 0.1; value < 1e14; value *= 1.3) {
    for (const kind of ["rate", "bytes", "load", "core", "count", "latency"] as const) {
      expect(top(kind, value)).toBeGreaterThanOrEqual(value * 0.999_999);
    }
  }
});

test("a zoom is kept in the address; nonsense is none", () => {
  const zoom = { from: 1_795_000_000_400, to: 1_795_000_060_200 };
  expect(zoomText(zoom)).toBe("1795000000-1795000061");
  expect(parseZoom("1795000000-1795000061")).toEqual({
    from: 1_795_000_000_000,
    to: 1_795_000_061_000,
  });
  for (const text of [null, "", "5-4", "1795000061-1795000000", "a-b", "1795000000-"]) {
    expect(parseZoom(text)).toBeUndefined();
  }
  expect(visible(undefined, 60_000, 100_000)).toEqual({ from: 40_000, to: 100_000 });
});

test("minutes are means of what was measured, newest first", () => {
  const t = new Float64Array([0, 30_000, 60_000, 90_000]);
  const rows = minutes(t, [new Float64Array([1, 3, NaN, NaN])], { from: 0, to: 90_000 });
  expect(rows).toEqual([
    { at: 60_000, means: [undefined] },
    { at: 0, means: [2] },
  ]);
});

test("bands: the spread of half minutes, where there is one", () => {
  const bands = new Bands();
  expect(bands.of("cpu")).toEqual([]);
  bands.load({
    t: [30_000, 60_000, 90_000, 120_000],
    seconds: [30, 30, 30, 30],
    samples: [30, 1, 30, 30],
    cpu: { min: [1, 2, null, 4], max: [5, 2, null, 9] },
  });
  expect(bands.of("cpu")).toEqual([
    { from: 0, to: 30_000, min: 1, max: 5 },
    { from: 90_000, to: 120_000, min: 4, max: 9 },
  ]);
  expect([bands.of("memory"), bands.of("t"), bands.of("constructor")]).toEqual([[], [], []]);
});
