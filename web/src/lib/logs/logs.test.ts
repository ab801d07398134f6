import { describe, expect, test } from "vitest";
import type { LogLine } from "../live/types";
import { parts } from "./ansi";
import { Plain } from "../regex/regex";
import { Find, needle } from "./find";
import { Heights } from "./heights";
import { LogRing } from "./ring";
import { visible } from "./safe";
import { readColumns, readFilters, readLine, readTime } from "./wish";
import { fullTime, lineCopy, lineTime, readStamp } from "./words";

const line = (seq: number, message = `line ${seq}`, more: Partial<LogLine> = {}): LogLine => ({
  seq,
  timestamp: "2026-11-25T02:00:00.000Z",
  message,
  stream: "stdout",
  ...more,
});

/** A ring of these messages, numbered from 1. */
function ringOf(messages: string[], limits: [number?, number?] = []): LogRing {
  const ring = new LogRing(...limits);
  ring.begin("e");
  for (const [i, message] of messages.entries()) ring.push(line(i + 1, message), 1_000 * (i + 1));
  return ring;
}

describe("the ring", () => {
  test("keeps what a line says, and its position while it grows", () => {
    const ring = new LogRing();
    ring.begin("e");
    for (let i = 0; i < 20_000; i += 1) ring.push(line(i + 1), i);
    ring.push(
      line(20_001, "head\nat a\nat b", {
        level: "error",
        stream: "stderr",
        raw: "raw",
        fields: { a: 1 },
        cut: 7,
        marker: "started",
      }),
      20_000,
    );
    expect([ring.first, ring.end]).toEqual([0, 20_001]);
    expect([ring.message(0), ring.message(12_345)]).toEqual(["line 1", "line 12346"]);
    const at = 20_000;
    expect([ring.seq(at), ring.at(at), ring.level(at), ring.stream(at), ring.head(at)]).toEqual([
      20_001,
      20_000,
      5,
      "stderr",
      4,
    ]);
    expect([ring.raw(at), ring.fields(at), ring.cut(at)]).toEqual(["raw", { a: 1 }, 7]);
    expect(ring.special(at)).toEqual({ kind: "marker", marker: "started" });
    expect([ring.level(0), ring.stream(0), ring.raw(0), ring.special(0)]).toEqual([
      0,
      "stdout",
      undefined,
      undefined,
    ]);
  });

  test("lets the oldest go at either limit, but never the newest", () => {
    const lines = ringOf(
      Array.from({ length: 9_000 }, (_, i) => `${i}`),
      [5_000],
    );
    expect([lines.first, lines.length, lines.message(lines.first)]).toEqual([4_000, 5_000, "4000"]);
    const chars = ringOf(["x".repeat(60), "y".repeat(30), "z".repeat(30)], [100, 100]);
    expect([chars.first, chars.chars]).toEqual([1, 60]);
    chars.push(line(4, "w".repeat(500)), 4_000);
    expect([chars.length, chars.chars]).toEqual([1, 500]);
  });

  test("finds a line by its number in its numbering, and by time", () => {
    const ring = ringOf(["a", "b"], [4]);
    ring.pushSpecial({ kind: "gap", from: 3, to: 8, dropped: 6 }, "6 lines", 3, 2_500);
    ring.begin("f");
    ring.push(line(1, "c"), 3_000);
    expect([ring.find("e", 2), ring.find("e", 3), ring.find("f", 1)]).toEqual([1, 2, 3]);
    expect([ring.find("e", 4), ring.find("f", 2), ring.find("g", 1)]).toEqual([
      undefined,
      undefined,
      undefined,
    ]);
    expect([ring.epochOf(2), ring.epochOf(3)]).toEqual(["e", "f"]);
    expect([0, 1_000, 1_001, 2_600, 9_000].map((at) => ring.atTime(at))).toEqual([0, 0, 1, 3, 4]);
    ring.push(line(2, "d"), 4_000);
    expect([ring.find("e", 1), ring.find("e", 2)]).toEqual([undefined, 1]);
    ring.clear();
    expect([ring.length, ring.chars, ring.epoch, ring.find("f", 2)]).toEqual([
      0,
      0,
      undefined,
      undefined,
    ]);
  });
});

describe("heights", () => {
  test("agree with adding them all up, while lines come, change and go", () => {
    const heights = new Heights();
    const plain: number[] = [];
    let first = 0;
    let seed = 7;
    const random = (n: number) => (seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31) % n;
    heights.reset(500_000);
    for (let round = 0; round < 60; round += 1) {
      for (let i = random(900); i > 0; i -= 1) {
        const height = 18 + random(5) * 18;
        plain.push(height);
        heights.push(height);
      }
      if (round % 3 === 2) {
        const gone = random(700);
        const dropped = plain.splice(0, gone).reduce((sum, height) => sum + height, 0);
        first += gone;
        expect(heights.dropTo(500_000 + first)).toBe(dropped);
      }
      const changed = random(plain.length);
      const grown = 90 - (plain[changed] ?? 0);
      plain[changed] = 90;
      expect(heights.set(500_000 + first + changed, 90)).toBe(grown);
      const at = random(plain.length);
      const offset = plain.slice(0, at).reduce((sum, height) => sum + height, 0);
      expect(heights.offset(500_000 + first + at)).toBe(offset);
      expect(heights.find(offset)).toBe(500_000 + first + at);
      expect(heights.find(offset + 17)).toBe(500_000 + first + at);
      expect(heights.total).toBe(plain.reduce((sum, height) => sum + height, 0));
      expect(heights.find(heights.total + 5)).toBe(heights.end - 1);
    }
  });

  test("set anew, some to nothing: those are never where one looks", () => {
    const heights = new Heights();
    heights.reset(700);
    for (let i = 0; i < 6_000; i += 1) heights.push(18);
    heights.dropTo(900);
    heights.renew((position) => (position % 3 === 0 ? 20 : 0));
    const shown = Math.floor((6_700 - 1) / 3) - Math.ceil(900 / 3) + 1;
    expect(heights.total).toBe(shown * 20);
    expect([heights.find(0), heights.find(19), heights.find(20)]).toEqual([900, 900, 903]);
    expect(heights.offset(900 + 3_000)).toBe(20_000);
    expect(heights.find(20_005)).toBe(3_900);
  });

  test("reach beyond what 32 bits can count", () => {
    const heights = new Heights();
    heights.reset(2 ** 33);
    for (let i = 0; i < 5_000; i += 1) heights.push(10);
    expect(heights.offset(2 ** 33 + 4_500)).toBe(45_000);
    expect(heights.find(45_000)).toBe(2 ** 33 + 4_500);
  });
});

describe("colours of terminals", () => {
  const look = (raw: string) => parts(raw).map(({ text, look }) => [text, look]);

  test.each([
    ["plain", [["plain", ""]]],
    [
      "\x1b[31mred\x1b[0m car",
      [
        ["red", "a-1"],
        [" car", ""],
      ],
    ],
    [
      "\x1b[1;4;92mok\x1b[22;39m rest",
      [
        ["ok", "a-10 a-bold a-under"],
        [" rest", "a-under"],
      ],
    ],
    [
      "\x1b[38;5;196mx\x1b[48;2;0;0;0my",
      [
        ["x", "a-9"],
        ["y", "a-9 b-0"],
      ],
    ],
    ["\x1b[38:2::0:205:0mx", [["x", "a-2"]]],
    [
      "\x1b[7mx\x1b[31my",
      [
        ["x", "a-back b-fore"],
        ["y", "a-back b-1"],
      ],
    ],
    ["\x1b[mx\x1b[38;5;999my", [["xy", ""]]],
    // Titles, links, screens, cursors, answers: all left out.
    ["a\x1b]0;title\x07b\x1b]8;;http://x\x1b\\c\x1b[2Jd\x1b[?25le\x1b(Bf\x1b[6n", [["abcdef", ""]]],
    ["\x1b]52;c;never ended", [["52;c;never ended", ""]]],
    ["a\x1b[", [["a", ""]]],
    ["a\x1b", [["a", ""]]],
    ["\x9b31mc1", [["c1", "a-1"]]],
  ])("%j", (raw, expected) => {
    expect(look(raw as string)).toEqual(expected);
  });

  test("a hostile line takes no longer than a long one", () => {
    const begun = performance.now();
    parts("\x1b]".repeat(100_000));
    parts("\x9d".repeat(100_000));
    parts("\x1b[" + "1;".repeat(100_000) + "m");
    expect(performance.now() - begun).toBeLessThan(2_000);
  });
});

test("what would act is shown as a sign, one for one, each time", () => {
  expect([visible("a\x07"), visible("\x07"), visible("\x07")]).toEqual(["a␇", "␇", "␇"]);
  expect(visible("a\tb <b>ü 😀")).toBe("a\tb <b>ü 😀");
  expect(visible("\x1b[2J\r\x00\x7f\u202eevil\u2066\u200b")).toBe("␛[2J␍␀␡␦evil␦␦");
});

describe("finding", () => {
  const all = () => false;

  test("the newest first, then those that come, in any case", () => {
    const ring = ringOf(["An error", "fine", "ERROR again", "fine", "no error"]);
    const wanted = needle("error");
    if (!wanted || "wrong" in wanted) throw new Error("not a needle");
    const find = new Find(ring, wanted.pattern);
    expect(find.done).toBe(false);
    find.run(all);
    expect([find.done, find.count]).toEqual([true, 3]);
    ring.push(line(6, '{"x":1}', { raw: "it has an Error in it" }), 6_000);
    find.run(all);
    expect([0, 1, 2, 3, 4].map((rank) => find.match(rank))).toEqual([0, 2, 4, 5, undefined]);
    expect([find.step(2, true), find.step(2, false), find.step(3, false)]).toEqual([4, 0, 2]);
    expect([find.step(5, true), find.step(0, false)]).toEqual([0, 5]);
    expect([find.rank(0), find.rank(3), find.rank(9)]).toEqual([0, 2, 4]);
  });

  test("goes on where it stopped, and forgets what is gone", () => {
    const ring = ringOf(
      Array.from({ length: 3_000 }, (_, i) => (i % 10 === 0 ? "x" : "y")),
      [3_000],
    );
    const find = new Find(ring, new Plain("x"));
    find.run(() => true);
    expect([find.done, find.count > 0, find.count < 300]).toEqual([false, true, true]);
    find.run(all);
    expect(find.count).toBe(300);
    for (let i = 0; i < 1_000; i += 1) ring.push(line(3_001 + i, i % 10 === 0 ? "x" : "y"), 1e9);
    find.run(all);
    expect([find.count, find.match(0)]).toEqual([300, 1_000]);
    for (let i = 0; i < 9_000; i += 1) ring.push(line(4_001 + i, "y"), 1e9);
    find.run(all);
    expect([find.count, find.done, find.step(0, true)]).toEqual([0, true, undefined]);
  });

  test("places, signs taken as they are, and patterns that are wrong", () => {
    const [dots, any, wrong] = [needle("a.b"), needle("/a.b/"), needle("/(/")];
    const of = (wanted: typeof dots, text: string) =>
      wanted && "pattern" in wanted ? wanted.pattern.places(text) : wanted;
    expect(of(dots, "a.b axb A.B")).toEqual([
      [0, 3],
      [8, 11],
    ]);
    expect(of(any, "a.b axb A.B")).toEqual([
      [0, 3],
      [4, 7],
    ]);
    expect(of(needle("/x*/"), "axxb")).toEqual([[1, 3]]);
    expect(wrong).toHaveProperty("wrong");
    expect(needle("")).toBeUndefined();
  });
});

test("the address: filters, columns, a line, a time of day", () => {
  const read = (search: string) => readFilters(new URLSearchParams(search));
  expect(read("")).toBeUndefined();
  expect(read("level=loud&stream=tty&not=1")).toBeUndefined();
  expect(read("level=warn&only=a+b&not=1&stream=stderr&field=user%3D7&field=x")).toEqual({
    level: "warn",
    text: "a b",
    inverse: true,
    stream: "stderr",
    fields: { user: "7" },
  });
  expect(read("only=/a|b/i")).toEqual({ regex: "(?i)a|b" });
  expect(readColumns(new URLSearchParams("col=a&col=b&col=a&col="))).toEqual(["a", "b"]);
  expect(readLine("e-p-12")).toEqual({ epoch: "e-p", seq: 12 });
  expect([readLine("12"), readLine(null), readLine("e-x")]).toEqual([
    undefined,
    undefined,
    undefined,
  ]);
  const now = new Date(2026, 10, 25, 12, 0, 0).getTime();
  expect(readTime("11:30", now)).toBe(new Date(2026, 10, 25, 11, 30).getTime());
  expect(readTime("12:30:05.5", now)).toBe(new Date(2026, 10, 24, 12, 30, 5, 500).getTime());
  expect([readTime("25:00", now), readTime("noon", now)]).toEqual([undefined, undefined]);
});

test("times, to the microsecond, and lines as they are copied", () => {
  const at = readStamp("2026-11-25T02:00:01.123456789Z");
  expect(Math.round((at % 1_000) * 1_000)).toBe(123_457);
  expect(lineTime(at)).toMatch(/^\d\d:\d\d:01\.123$/);
  expect(fullTime(at)).toMatch(/^2026-11-2\d \d\d:\d\d:01\.123457 UTC[+-]\d\d:\d\d$/);
  expect([lineTime(readStamp("rubbish")), fullTime(NaN)]).toEqual(["", "time unknown"]);
  const ring = new LogRing();
  ring.begin("e");
  ring.push(line(1, "m", { level: "warn", raw: '{"msg":"m"}', cut: 9 }), at);
  expect(lineCopy(ring, 0)).toBe('2026-11-25T02:00:01.123Z WARN {"msg":"m"} [9 bytes cut off]');
});
