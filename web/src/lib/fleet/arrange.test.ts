import { describe, expect, test } from "vitest";
import type { DeviceEntry, Sample } from "../live/types";
import { arrange, matches, trouble, type Wish } from "./arrange";
import { totals } from "./totals";

let id = 0;

function entry(
  name: string,
  over: Partial<DeviceEntry> = {},
  sample?: Partial<Sample>,
): DeviceEntry {
  return {
    deviceUuid: `uuid-${name}`,
    id: ++id,
    name,
    tags: [],
    state: "online",
    sample: sample ? (sample as Sample) : null,
    containers: { running: 0, total: 0, unhealthy: 0 },
    ...over,
  };
}

const plain: Wish = { filter: "", sort: "name", descending: false, trouble: false, byTag: false };

function keys(entries: DeviceEntry[], wish: Partial<Wish>): string[] {
  const rows = entries.map((entry) => ({ entry }));
  return arrange(rows, { ...plain, ...wish }).map((item) =>
    item.kind === "group" ? `[${item.tag} ${item.count}]` : item.row.entry.name,
  );
}

describe("order", () => {
  test("names by their numbers", () => {
    expect(
      keys(
        ["web-10", "web-2", "db"].map((n) => entry(n)),
        {},
      ),
    ).toEqual(["db", "web-2", "web-10"]);
  });

  test("who has no figure stands last, both ways", () => {
    const entries = [entry("a"), entry("b", {}, { cpu: 5 }), entry("c", {}, { cpu: 50 })];
    expect(keys(entries, { sort: "cpu", descending: true })).toEqual(["c", "b", "a"]);
    expect(keys(entries, { sort: "cpu" })).toEqual(["b", "c", "a"]);
  });

  test("trouble comes first only when asked for", () => {
    const entries = [
      entry("a"),
      entry("b", { state: "unreachable" }),
      entry("c", {}, { disk: 96 }),
    ];
    expect(keys(entries, {})).toEqual(["a", "b", "c"]);
    expect(keys(entries, { trouble: true })).toEqual(["b", "c", "a"]);
  });

  test("groups by tag, the untagged last, a device in each of its groups", () => {
    const entries = [
      entry("a", { tags: ["web", "eu"] }),
      entry("b", { tags: ["web"] }),
      entry("c"),
    ];
    expect(keys(entries, { byTag: true })).toEqual([
      "[eu 1]",
      "a",
      "[web 2]",
      "a",
      "b",
      "[ 1]",
      "c",
    ]);
    const items = arrange(
      entries.map((entry) => ({ entry })),
      { ...plain, byTag: true },
    );
    expect(new Set(items.map((item) => item.key)).size).toBe(items.length);
  });
});

describe("filter", () => {
  const web = entry("Web-1", { tags: ["prod"], state: "auth-failed" });

  test.each([
    ["", true],
    ["web prod", true],
    ["web -prod", false],
    ["-", true],
    ["refused", true],
    ["auth", true],
    ["unreachable", true],
    ["unhealthy", false],
    ["webprod", false],
  ])("%o", (filter, found) => expect(matches(web, filter)).toBe(found));
});

test("trouble is the worst of state, containers and figures", () => {
  expect(trouble(entry("a"))).toBe(0);
  expect(trouble(entry("a", {}, { memory: 86 }))).toBe(1);
  expect(trouble(entry("a", { containers: { running: 1, total: 1, unhealthy: 1 } }))).toBe(4);
  expect(trouble(entry("a", { state: "host-key-changed" }, { disk: 99 }))).toBe(6);
});

test("sums count every state once", () => {
  const states = ["online", "slow", "stale", "unreachable", "auth-failed"] as const;
  const entries = states.map((state) =>
    entry(state, { state, containers: { running: 1, total: 2, unhealthy: 1 } }),
  );
  expect(totals(entries)).toEqual({
    devices: 5,
    online: 1,
    slow: 1,
    stale: 1,
    unreachable: 2,
    containers: 10,
    running: 5,
    unhealthy: 5,
  });
});
