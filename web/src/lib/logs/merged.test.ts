import { describe, expect, test, vi } from "vitest";
import type { LiveClient } from "../live/client";
import type { Handlers } from "../live/room";
import type { LogHistory, LogLine, LogMember } from "../live/types";
import { hiddenText, readHidden, whoseOf } from "./members";
import { MergedLog } from "./merged.svelte";
import { readSelector, type Selector, selectorText, storedOf } from "./selector";
import { paneAddress, patched, patchedAll, readPanes } from "./split";

const D = "00000000-0000-4000-8000-00000000000d";
const id = (letter: string) => letter.repeat(64);
const stream = (letter: string) => `${D}:${id(letter)}`;

const member = (letter: string): LogMember => ({
  streamId: stream(letter),
  deviceUuid: D,
  containerId: id(letter),
  name: `name-${letter}`,
  deviceName: "host",
  state: "running",
});

const line = (letter: string, seq: number, at = seq): LogLine => ({
  seq,
  timestamp: new Date(1_000 * at).toISOString(),
  message: `${letter}${seq}`,
  stream: "stdout",
  streamId: stream(letter),
});

function open() {
  const again = vi.fn();
  let handler: Handlers["logs"] | undefined;
  const client = {
    again,
    watch: (_: unknown, given: Handlers["logs"]) => ((handler = given), () => undefined),
  } as unknown as LiveClient;
  const log = new MergedLog(client, { kind: "device", device: D });
  log.watch();
  const held = () =>
    Array.from({ length: log.ring.length }, (_, i) => log.ring.message(log.ring.first + i));
  /** The hub's answer. */
  const history = (logs: LogLine[]) => {
    log.wanted();
    log.answered();
    // It has no epoch: each container's numbers are its own.
    const room = { room: `logs:device:${D}`, streamId: `device:${D}` };
    log.history({ ...room, logs, complete: true } as unknown as LogHistory);
  };
  const batch = (...logs: LogLine[]) =>
    log.batch({ room: `logs:device:${D}`, streamId: `device:${D}`, logs, timestamp: 0 });
  if (!handler) throw new Error("not watched");
  return { log, again, handler, held, history, batch };
}

describe("a log of several", () => {
  test("lines of all, each with whose it is; numbers are of each alone", () => {
    const { log, handler, held, history, batch } = open();
    handler.snapshot({ members: [member("a"), member("b")], truncated: 3 });
    history([line("a", 7, 1), line("b", 1, 2)]);
    batch(line("b", 2, 3), line("a", 8, 3));
    // A container's log that is followed anew is counted anew: each line that comes is a new one.
    batch(line("a", 9, 4), line("a", 1, 5));
    expect(held()).toEqual(["a7", "b1", "b2", "a8", "a9", "a1"]);
    const { first } = log.ring;
    expect([0, 1, 2, 3].map((i) => log.ring.of(first + i))).toEqual([0, 1, 1, 0]);
    expect(log.truncated).toBe(3);
    expect(log.stored()).toEqual({ device: D, q: "" });
  });

  test("members come and go, and keep their number and colour", () => {
    const { log, handler, history, batch } = open();
    handler.snapshot({ members: [member("a"), member("b")], truncated: 0 });
    history([]);
    handler.members({ members: [member("c"), member("b")], truncated: 0 });
    batch(line("c", 1), line("f", 1));
    expect(log.members.map((m) => [m.name, m.index, m.followed])).toEqual([
      ["name-a", 0, false],
      ["name-b", 1, true],
      ["name-c", 2, true],
      // One that was not told of yet.
      ["ffffffffffff", 3, false],
    ]);
    handler.members({ members: [member("a"), member("f")], truncated: 0 });
    expect(log.members.map((m) => [m.name, m.index, m.followed])).toEqual([
      ["name-a", 0, true],
      ["name-b", 1, false],
      ["name-c", 2, false],
      ["name-f", 3, true],
    ]);
    const whose = whoseOf(log.members);
    expect([whose(3)?.name, whose(3)?.href]).toEqual(["name-f", `/container/${id("f")}`]);
    expect([...readHidden(log.members, ["cccccccccccc", "dddddddddddd"])]).toEqual([2]);
    expect(hiddenText(log.members, new Set([0]))).toEqual(["aaaaaaaaaaaa"]);
  });

  test("a gap stands where it is, with whose lines are missing", () => {
    const { log, handler, held, history, batch } = open();
    handler.snapshot({ members: [member("a"), member("b")], truncated: 0 });
    history([line("a", 1), line("b", 1)]);
    const gap = { streamId: stream("b"), fromSeq: 2, toSeq: 5, dropped: 4 };
    log.gap(gap);
    batch(line("b", 6), line("a", 2));
    log.gap({ ...gap, streamId: `device:${D}`, dropped: 9 });
    expect(held()).toEqual([
      "a1",
      "b1",
      expect.stringMatching(/^name-b: 4 lines dropped/),
      "b6",
      "a2",
      expect.stringMatching(/^9 lines dropped/),
    ]);
    expect(log.ring.of(log.ring.first + 2)).toBe(1);
    expect(log.members.length).toBe(2);
  });

  test("after a break the new lines only, and a word where some may be missing", () => {
    const { log, handler, held, history } = open();
    handler.snapshot({ members: [member("a"), member("b")], truncated: 0 });
    history([line("a", 1), line("b", 1)]);
    log.lost();
    history([line("b", 1), line("a", 2), line("b", 2)]);
    expect(held()).toEqual(["a1", "b1", "a2", "b2"]);
    log.lost();
    history([line("a", 9), line("b", 7)]);
    expect(held().slice(4)).toEqual([expect.stringMatching(/may be missing/), "a9", "b7"]);
    // Another run of the hub counts anew; times and texts tell what is here, as often as it is.
    log.lost();
    const again = { ...line("a", 2, 9), message: "a9" };
    history([{ ...line("a", 1, 9), message: "a9" }, again, line("a", 3, 10)]);
    expect(held().slice(7)).toEqual(["a9", "a3"]);
  });

  test("another filter is another log; a wrong one is told and the last right one goes on", () => {
    const { log, again, handler, held, history } = open();
    handler.snapshot({ members: [member("a")], truncated: 0 });
    history([line("a", 1)]);
    log.filter({ level: "warn" });
    expect(again).toHaveBeenCalledTimes(1);
    history([line("a", 4)]);
    expect(held()).toEqual(["a4"]);
    log.filter({ regex: "(" });
    log.wanted();
    handler.refused({ code: "BAD_REQUEST", message: "options.logs.filters.regex: unclosed group" });
    expect([log.wrong, log.refusal, again.mock.calls.length]).toEqual([
      "regex: unclosed group",
      undefined,
      3,
    ]);
    expect(log.wanted()).toEqual({ tail: 1_000, filters: { level: "warn" } });
    handler.refused({ code: "UNAUTHORIZED", message: "not for you" });
    expect(log.refusal?.code).toBe("UNAUTHORIZED");
  });
});

test.each<[string, Selector, object]>([
  [`device:${D}`, { kind: "device", device: D }, { device: D }],
  [
    `project:${D}/shop/eu`,
    { kind: "project", device: D, project: "shop/eu" },
    { device: D, project: "shop/eu" },
  ],
  ["project:shop", { kind: "project", project: "shop" }, { project: "shop" }],
  ["tag:a:b/c", { kind: "tag", tag: "a:b/c" }, { device: [D] }],
  [
    `containers:${id("a")},${id("b")}`,
    { kind: "containers", containers: [id("a"), id("b")] },
    { container: [id("a"), id("b")] },
  ],
])("%s is read, written, and found in the store", (text, selector, stored) => {
  expect(readSelector(text)).toEqual(selector);
  expect(selectorText(selector)).toBe(text);
  expect(JSON.parse(JSON.stringify(storedOf(selector, [{ deviceUuid: D }])))).toEqual(stored);
});

test.each(["", "device:", "device:x", "tag:", "containers:x", "else:x", "project:"])(
  "%j is no log of several",
  (text) => expect(readSelector(text)).toBeUndefined(),
);

test("logs side by side are in the address, each once, with its own filters", () => {
  const [a, b] = [`/container/${id("a")}?level=warn`, `/logs/tag:web`];
  const panes = readPanes([
    a,
    "/search",
    b,
    `/container/${id("a")}`,
    "https://else.where/",
    "//x/y",
  ]);
  expect(panes.map(paneAddress)).toEqual([a, b]);
  const [first] = panes;
  if (!first) throw new Error("no pane");
  expect(paneAddress(patched(first, { level: undefined, find: "x y" }))).toBe(
    `/container/${id("a")}?find=x+y`,
  );
  expect(paneAddress(patchedAll(first, "col", ["p", "q"]))).toBe(`${a}&col=p&col=q`);
});
