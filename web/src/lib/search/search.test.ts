import { expect, test } from "vitest";
import { BARS, Histogram } from "./histogram";
import { marks } from "./needle";
import { inputText, readRange } from "./range";

const marked = (query: string, text: string) => {
  const found = marks(query)?.places(text) ?? [];
  return found.map(([from, to]) => text.slice(from, to));
};

test.each([
  ["timeout", "a Timeout here", ["Timeout"]],
  ["time*", "timeouts and time", ["timeouts", "time"]],
  ['"connection refused"', "Connection: refused", ["Connection: refused"]],
  ["/5\\d\\d/ level>=warn", "status 503 level", ["503"]],
  ["-healthz status=500", "healthz status 500", []],
  ["container:web-* zebra", "web-1 zebra", ["zebra"]],
  ["/(a+)+$/", "aaaa", ["aaaa"]],
  // What is the hub's syntax alone is not marked; the hub has found it all the same.
  ["/(?i)x/ y", "x y", ["y"]],
  ["", "anything", []],
])("%s marks %j", (query, text, found) => expect(marked(query, text)).toEqual(found));

test("bars keep every line while their span widens", () => {
  const open = new Histogram(-Infinity, 1e12);
  for (let i = 0; i < 5_000; i += 1) open.add(1e12 - i * 60_000);
  const bars = [...open.bars()];
  expect(bars.reduce((sum, [, count]) => sum + count, 0)).toBe(5_000);
  expect(bars.length).toBeLessThanOrEqual(BARS + 2);
  const [from, to] = open.span;
  for (const [at] of bars) expect(at >= from && at < to).toBe(true);
  const closed = new Histogram(0, 3_600_000);
  closed.add(1_000);
  expect(closed.span[1] - closed.span[0]).toBeGreaterThanOrEqual(3_600_000);
  closed.add(NaN);
  expect(closed.most).toBe(1);
});

test("a time range by its name, by its ends, or none", () => {
  const now = 1_764_000_000_000;
  const read = (text: string) => readRange(new URLSearchParams(text), now);
  expect(read("range=1h")).toEqual({ from: now - 3_600_000, to: now });
  expect(read("from=1763990000000&to=1763999000000")).toEqual({
    from: 1_763_990_000_000,
    to: 1_763_999_000_000,
  });
  expect(read("from=yesterday&range=never")).toEqual({ from: -Infinity, to: now });
  expect(Date.parse(inputText(now))).toBe(now);
});
