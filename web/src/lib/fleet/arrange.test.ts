import { describe, expect, test } from "vitest";
import { Skew } from "../live/skew";
import type { FleetDevice } from "../live/types";
import { arrange, matcher, moves, surviving, type Wish } from "./arrange";
import { FleetColumns } from "./columns";
import { totals } from "./totals";

let id = 0;

function entry(
  name: string,
  over: Partial<FleetDevice> = {},
  figures?: Partial<FleetDevice>,
): FleetDevice {
  return {
    deviceUuid: `uuid-${name}`,
    id: ++id,
    name,
    tags: [],
    state: "online",
    containers: { running: 0, total: 0, unhealthy: 0 },
    ...(figures && { sampledAt: new Date(0).toISOString(), ...figures }),
    ...over,
  };
}

function fleet(entries: FleetDevice[]): FleetColumns {
  const columns = new FleetColumns();
  columns.snapshot(entries, 0, new Skew());
  return columns;
}

const plain: Wish = { filter: "", sort: "name", descending: false, trouble: false, byTag: false };

function names(columns: FleetColumns, wish: Partial<Wish>): string[] {
  return arrange(columns, { ...plain, ...wish }).map((line) =>
    line.kind === "group" ? `[${line.tag} ${line.count}]` : (columns.names[line.slot] ?? ""),
  );
}

describe("order", () => {
  test("names by their numbers, also after one was renamed", () => {
    const entries = ["web-10", "web-2", "db"].map((name) => entry(name));
    const columns = fleet(entries);
    expect(names(columns, {})).toEqual(["db", "web-2", "web-10"]);
    expect(names(columns, { descending: true })).toEqual(["web-10", "web-2", "db"]);
    columns.entry({ ...(entries[2] as FleetDevice), name: "web-3" });
    expect(names(columns, {})).toEqual(["web-2", "web-3", "web-10"]);
  });

  test("who has no figure stands last, both ways", () => {
    const columns = fleet([entry("a"), entry("b", {}, { cpu: 5 }), entry("c", {}, { cpu: 50 })]);
    expect(names(columns, { sort: "cpu", descending: true })).toEqual(["c", "b", "a"]);
    expect(names(columns, { sort: "cpu" })).toEqual(["b", "c", "a"]);
  });

  test("trouble comes first only when asked for", () => {
    const columns = fleet([
      entry("a"),
      entry("b", { state: "unreachable" }),
      entry("c", {}, { disk: 96 }),
    ]);
    expect(names(columns, {})).toEqual(["a", "b", "c"]);
    expect(names(columns, { trouble: true })).toEqual(["b", "c", "a"]);
    expect([moves(plain), moves({ ...plain, trouble: true }), moves({ ...plain, sort: "in" })]) //
      .toEqual([false, true, true]);
  });

  test("groups by tag, the untagged last, a device in each of its groups", () => {
    const columns = fleet([
      entry("a", { tags: ["web", "eu"] }),
      entry("b", { tags: ["web"] }),
      entry("c"),
    ]);
    expect(names(columns, { byTag: true })).toEqual([
      "[eu 1]",
      "a",
      "[web 2]",
      "a",
      "b",
      "[ 1]",
      "c",
    ]);
    const lines = arrange(columns, { ...plain, byTag: true });
    expect(new Set(lines.map((line) => line.key)).size).toBe(lines.length);
  });

  test("a device that is gone leaves the lines at once, whoever got its place", () => {
    const [a, b] = [entry("a"), entry("b")];
    const columns = fleet([a, b]);
    const lines = arrange(columns, plain);
    expect(surviving(lines, columns)).toBe(lines);
    columns.snapshot([b, entry("c")], 0, new Skew());
    expect(surviving(lines, columns).map(({ key }) => key)).toEqual(["uuid-b"]);
  });
});

describe("filter", () => {
  const columns = fleet([entry("Web-1", { tags: ["prod"], state: "auth-failed" })]);

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
  ])("%o", (filter, found) => expect(matcher(filter)(columns.words(0))).toBe(found));
});

test("trouble is the worst of state, containers and figures", () => {
  const columns = fleet([
    entry("a"),
    entry("a", {}, { memory: 86 }),
    entry("a", { containers: { running: 1, total: 1, unhealthy: 1 } }),
    entry("a", { state: "host-key-changed" }, { disk: 99 }),
  ]);
  expect([0, 1, 2, 3].map((slot) => columns.trouble(slot))).toEqual([0, 1, 4, 6]);
});

test("sums count every state once", () => {
  const states = ["online", "slow", "stale", "unreachable", "auth-failed"] as const;
  const entries = states.map((state) =>
    entry(state, { state, containers: { running: 1, total: 2, unhealthy: 1 } }),
  );
  expect(totals(fleet(entries))).toEqual({
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
