import { expect, test } from "vitest";
import { freshAt, Skew } from "./skew";
import { Freshness } from "./freshness";
import { Position } from "./position";
import type { Sample } from "./types";

test("events in order are news, old ones repeats, jumps gaps", () => {
  const position = new Position();
  expect(position.known).toBe(false);
  expect(position.judge("a", 1)).toBe("gap");
  position.snapshot("a", 4);
  expect(position.judge("a", 4)).toBe("repeat");
  expect(position.judge("a", 5)).toBe("news");
  expect(position.judge("a", 8)).toBe("gap");
  expect(position.judge("a", 9)).toBe("news");
  expect(position.judge("b", 1)).toBe("gap");
  expect(position.judge("b", 2)).toBe("news");
});

test("skew is the least difference seen", () => {
  const skew = new Skew();
  expect(skew.toLocal(1_000)).toBe(1_000);
  skew.observe(1_000, 6_200);
  skew.observe(2_000, 7_050);
  skew.observe(NaN, 0);
  skew.observe(3_000, 9_000);
  expect(skew.toLocal(1_000)).toBe(6_050);
  expect(skew.toHub(6_050)).toBe(1_000);
});

test("a delivering device is as fresh as its sample's arrival, whatever the clocks say", () => {
  const at = 1_000_000;
  expect(freshAt(at, true, 9_000_000, new Skew())).toBe(9_000_000);
  const skew = new Skew();
  skew.observe(1_060_000, 9_000_000);
  expect(freshAt(at, false, 9_000_000, skew)).toBe(8_940_000);
  // A hub whose clock is ahead does not make samples of the future.
  expect(freshAt(at, false, 500_000, new Skew())).toBe(500_000);
});

test("the same sample again makes nothing younger; the pace is the host's", () => {
  const fresh = new Freshness();
  const sample = (ms: number) => ({ sampledAt: new Date(ms).toISOString() }) as Sample;
  fresh.snapshot(sample(1_000), "online", 50_000, new Skew());
  fresh.next(sample(1_000), "stale", 59_000, new Skew());
  expect([fresh.at, fresh.period]).toEqual([50_000, 1_000]);
  fresh.next(sample(6_000), "online", 60_000, new Skew());
  expect([fresh.at, fresh.period]).toEqual([60_000, 5_000]);
  // Over a break of the connection nothing is learnt of the pace.
  fresh.snapshot(sample(40_000), "online", 90_000, new Skew());
  expect([fresh.at, fresh.period]).toEqual([90_000, 5_000]);
});
