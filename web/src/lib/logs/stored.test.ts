import { expect, test } from "vitest";
import type { LogLine } from "../live/types";
import { Heights } from "./heights";
import { olderThan, placeBefore, queryText } from "./history";
import { Lines } from "./ndjson";
import { BASE, LogRing } from "./ring";
import type { StoredLine } from "./stored";
import { lineText, readLine } from "./wish";

test("lines of JSON are the same however an answer is cut", () => {
  const answer = '{"a":1}\n\n{"b":"x\\ny"}\n{"c":3}\n';
  for (let cut = 0; cut <= answer.length; cut += 1) {
    const lines = new Lines();
    const got = [...lines.push(answer.slice(0, cut)), ...lines.push(answer.slice(cut))];
    expect(got.map((line) => JSON.parse(line) as unknown)).toEqual([
      { a: 1 },
      { b: "x\ny" },
      { c: 3 },
    ]);
    expect(lines.rest).toBe("");
  }
  const broken = new Lines();
  broken.push('{"a":1}\n{"b"');
  expect(broken.rest).toBe('{"b"');
  expect(() => broken.push("x".repeat(5_000_000))).toThrow(RangeError);
});

const line = (seq: number): LogLine => ({
  seq,
  timestamp: "2026-11-25T02:00:00Z",
  message: `line ${seq}`,
  stream: "stdout",
});

test("older lines come before those that are held, in their order, as far as there is room", () => {
  const ring = new LogRing(6_000, undefined, BASE);
  ring.begin("live");
  for (let i = 1; i <= 3_000; i += 1) ring.push(line(i), 10_000 + i);
  const older = Array.from({ length: 5_000 }, (_, i) => line(i + 1));
  expect(ring.prepend(older, ({ seq }) => seq, "stored")).toBe(3_000);
  expect(ring.length).toBe(6_000);
  const { first } = ring;
  expect([ring.message(first), ring.epochOf(first)]).toEqual(["line 2001", "stored"]);
  expect([ring.seq(first + 2_999), ring.seq(first + 3_000)]).toEqual([5_000, 1]);
  expect(ring.find("live", 1)).toBe(first + 3_000);
  expect(ring.find("stored", 5_000)).toBe(first + 2_999);
  expect(ring.atTime(10_001)).toBe(first + 3_000);
  // A new line lets the oldest go, as ever.
  ring.push(line(3_001), 13_001);
  expect([ring.length, ring.message(ring.first)]).toEqual([6_000, "line 2002"]);
});

test("heights before the first line: sums, offsets and places stay right", () => {
  const heights = new Heights();
  heights.reset(BASE + 700);
  const all: number[] = [];
  for (let i = 0; i < 2_000; i += 1) {
    heights.push(18 + (i % 3));
    all.push(18 + (i % 3));
  }
  for (let i = 0; i < 9_000; i += 1) {
    heights.unshift(20 + (i % 5));
    all.unshift(20 + (i % 5));
  }
  expect(heights.total).toBe(all.reduce((a, b) => a + b, 0));
  let offset = 0;
  for (const [i, height] of all.entries()) {
    if (i % 97 === 0) {
      expect(heights.offset(heights.first + i)).toBe(offset);
      expect(heights.find(offset)).toBe(heights.first + i);
    }
    offset += height;
  }
});

test("filters of a live log in the language of the store", () => {
  expect(queryText({ level: "warn", text: "a/b (c)", inverse: true })).toBe(
    "level>=warn -/a\\/b \\(c\\)/i",
  );
  expect(queryText({ regex: "x\\/y/z", stream: "stderr" })).toBe("/x\\/y\\/z/ stream=stderr");
  expect(queryText({ fields: { user: 'a "b"' } })).toBe('field.user="a \\"b\\""');
});

test("a place just before a line's own", () => {
  expect(placeBefore("17.00000000000000ab.9")).toBe("17.00000000000000ab.8");
  expect(placeBefore("1764000000000000000.ab.0")).toBe("1763999999999999999.ab.0");
  expect(placeBefore("somewhere")).toBeUndefined();
});

test("at the seam each line is there once", () => {
  const stored = ["00.000", "01.000", "01.000", "02.000"].map((at, i) => ({
    ...line(i),
    timestamp: `2026-11-25T02:00:${at}Z`,
  })) as StoredLine[];
  const first = Date.parse("2026-11-25T02:00:01Z");
  const texts = (message: string) =>
    olderThan(stored, { at: first, message }).map((line) => line.message);
  expect(texts("line 2")).toEqual(["line 0", "line 1"]);
  expect(texts("not stored")).toEqual(["line 0"]);
});

test("a link to a line tells its time, too", () => {
  const text = lineText("e-1", 7, 1_764_000_000_000.25);
  expect(readLine(text)).toEqual({ epoch: "e-1", seq: 7, at: 1_764_000_000_000.25 });
  expect(readLine("e-1-7")).toEqual({ epoch: "e-1", seq: 7 });
});
