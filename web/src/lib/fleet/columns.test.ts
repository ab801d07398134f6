import { expect, test } from "vitest";
import { Skew } from "../live/skew";
import type { FleetDevice } from "../live/types";
import { emptyReading, FleetColumns } from "./columns";

const START = 1_795_000_000_000;

function entry(id: number, figures?: Partial<FleetDevice>): FleetDevice {
  return {
    deviceUuid: `uuid-${id}`,
    id,
    name: `host-${id}`,
    tags: [],
    state: "online",
    containers: { running: 1, total: 2, unhealthy: 0 },
    ...(figures && { sampledAt: new Date(START).toISOString(), ...figures }),
  };
}

const many = (n: number) => Array.from({ length: n }, (_, i) => entry(i + 1, { cpu: i % 100 }));

test("holds a thousand devices, each with its own figures; what is absent stays absent", () => {
  const columns = new FleetColumns();
  columns.snapshot(many(1_000), START, new Skew());
  expect(columns.size).toBe(1_000);
  const slot = columns.slotOf(78) ?? -1;
  expect(columns.figure(slot, "cpu")).toBe(77);
  expect(columns.figure(slot, "memory")).toBeUndefined();
  expect(columns.uuids[slot]).toBe("uuid-78");
});

test("a reading changes its slot and no other, and sets its pace", () => {
  const columns = new FleetColumns();
  columns.snapshot(many(3), START, new Skew());
  const before = [0, 1, 2].map((slot) => columns.version(slot));
  const reading = { ...emptyReading(), cpu: 55.5, sampledAt: START + 5_000 };
  columns.reading(1, reading, START + 5_100, new Skew());
  expect([0, 1, 2].map((slot) => columns.version(slot) - (before[slot] ?? 0))).toEqual([0, 1, 0]);
  expect(columns.figure(1, "cpu")).toBe(55.5);
  expect([columns.freshAt(1), columns.period(1)]).toEqual([START + 5_100, 5_000]);
});

test("the same reading again, rounded otherwise, makes nothing younger", () => {
  const columns = new FleetColumns();
  columns.snapshot([entry(1, { cpu: 10 })], START, new Skew());
  const version = columns.version(0);
  const again = { ...emptyReading(), cpu: 10.04, sampledAt: START - 8, state: "stale" as const };
  columns.reading(0, again, START + 900, new Skew());
  expect([columns.version(0), columns.freshAt(0), columns.states[0]]).toEqual([
    version,
    START,
    "online",
  ]);
  columns.reading(0, { ...again, sampledAt: NaN }, START + 900, new Skew());
  expect(columns.version(0)).toBe(version);
});

test("an older reading changes nothing, unless the hub's clock was set back", () => {
  const columns = new FleetColumns();
  columns.snapshot([entry(1, { cpu: 10 })], START, new Skew());
  const older = (ms: number) => ({ ...emptyReading(), cpu: 99, sampledAt: START - ms });
  columns.reading(0, older(29_000), START + 100, new Skew());
  expect(columns.figure(0, "cpu")).toBe(10);
  columns.reading(0, older(3_600_000), START + 100, new Skew());
  expect([columns.figure(0, "cpu"), columns.period(0)]).toEqual([99, 1_000]);
});

test("a snapshot says nothing of the pace, and numbers of the dead are as old as they are", () => {
  const columns = new FleetColumns();
  columns.snapshot([entry(1, { cpu: 10 })], START, new Skew());
  const later = new Date(START + 40_000).toISOString();
  const dead = entry(1, { cpu: 20, sampledAt: later, state: "unreachable" });
  columns.snapshot([dead], START + 60_000, new Skew());
  expect([columns.period(0), columns.states[0]]).toEqual([1_000, "unreachable"]);
  // It delivers nothing more: its numbers are as old as its sample.
  expect(columns.freshAt(0)).toBe(START + 40_000);
});

test("who is gone gives its slot away with nothing left in it", () => {
  const columns = new FleetColumns();
  columns.snapshot(many(3), START, new Skew());
  const { roster } = columns;
  columns.snapshot([entry(1), entry(3), entry(9)], START, new Skew());
  expect(columns.size).toBe(3);
  expect(columns.slotOf(2)).toBeUndefined();
  const slot = columns.slotOf(9) ?? -1;
  expect(slot).toBe(1);
  expect([columns.figure(slot, "cpu"), columns.freshAt(slot)]).toEqual([undefined, undefined]);
  let drawn = 0;
  columns.sparks.each(slot, START, () => (drawn += 1));
  expect(drawn).toBe(0);
  expect(columns.roster).toBeGreaterThan(roster);
  // The first device's figures are still those it had.
  expect(columns.figure(0, "cpu")).toBe(0);
});

test("a change of state or containers is counted, a reading is not", () => {
  const columns = new FleetColumns();
  columns.snapshot([entry(1)], START, new Skew());
  const { changes, roster } = columns;
  columns.reading(0, { ...emptyReading(), sampledAt: START + 1_000 }, START, new Skew());
  expect(columns.changes).toBe(changes);
  columns.entry({ ...entry(1), state: "unreachable" });
  expect(columns.words(0)).toContain("unreachable");
  columns.entry({ ...entry(1), containers: { running: 0, total: 2, unhealthy: 1 } });
  expect(columns.words(0)).toContain("unhealthy");
  expect([columns.changes - changes, columns.roster]).toEqual([2, roster]);
});

test("a device that was taken out is gone, and its place is free", () => {
  const columns = new FleetColumns();
  columns.snapshot(many(3), START, new Skew());
  const slot = columns.slotOf(2);
  columns.gone(2);
  columns.gone(2);
  expect([...columns.slots()].length).toBe(2);
  expect(columns.slotOf(2)).toBeUndefined();
  expect(columns.entry(entry(9))).toBe(slot);
});
