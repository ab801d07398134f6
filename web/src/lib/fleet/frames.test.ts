import { expect, test, vi } from "vitest";
import { Skew } from "../live/skew";
import type { FleetDevice } from "../live/types";
import { FleetColumns } from "./columns";
import { Frames } from "./frames";
import { frame } from "./frames.fixture";

const START = 1_795_000_000_000;

const entry = (id: number): FleetDevice => ({
  deviceUuid: `uuid-${id}`,
  id,
  name: `host-${id}`,
  tags: [],
  state: "online",
  containers: { running: 0, total: 0, unhealthy: 0 },
});

function fleet(...ids: number[]): { columns: FleetColumns; frames: Frames } {
  const columns = new FleetColumns();
  columns.snapshot(ids.map(entry), START, new Skew());
  return { columns, frames: new Frames(columns, new Skew()) };
}

const cpu = (columns: FleetColumns, id: number) => columns.figure(columns.slotOf(id) ?? -1, "cpu");

test("key and delta frames reach the devices by their numbers, in whatever order they are here", () => {
  const { columns, frames } = fleet(30, 7, 12);
  const key = [
    { at: 7, age: 10, cpu: 1.5 },
    { at: 12, age: 20 },
    { at: 30, age: 0, cpu: 99 },
  ];
  expect(frames.take(frame(START, 1, key), START)).toBe(true);
  expect([7, 12, 30].map((id) => Math.round((cpu(columns, id) ?? -1) * 10) / 10)).toEqual([
    1.5, -1, 99,
  ]);
  expect(columns.sampledAt(columns.slotOf(12) ?? -1)).toBe(START - 200);
  const version = columns.version(columns.slotOf(7) ?? -1);
  const delta = frame(START + 1_000, 1, [{ at: 2, age: 5, cpu: 40 }], key);
  expect(frames.take(delta, START + 1_000)).toBe(true);
  expect(cpu(columns, 30)).toBe(40);
  expect(columns.version(columns.slotOf(7) ?? -1)).toBe(version);
});

test("a delta without its key frame, and bytes that are no frame, ask for the state again", () => {
  const said = vi.spyOn(console, "error").mockImplementation(() => {});
  const { columns, frames } = fleet(1);
  const key = [{ at: 1, age: 0, cpu: 5 }];
  expect(frames.take(frame(START, 4, [{ at: 0, age: 0, cpu: 6 }], key), START)).toBe(false);
  expect(said).not.toHaveBeenCalled();
  expect(frames.take(new Uint8Array([1, 2, 3, 4, 5]), START)).toBe(false);
  expect(said).toHaveBeenCalledTimes(1);
  expect(cpu(columns, 1)).toBeUndefined();
  said.mockRestore();
});

test("after a new state no delta is read against the key frame of the old stream", () => {
  const { frames } = fleet(1);
  const key = [{ at: 1, age: 0, cpu: 5 }];
  frames.take(frame(START, 4, key), START);
  frames.reset();
  expect(frames.take(frame(START + 1_000, 4, [{ at: 0, age: 0, cpu: 6 }], key), START)).toBe(false);
});

test("a device that left the stream is asked about, and nothing else is lost", () => {
  const { columns, frames } = fleet(1, 2, 3);
  const row = (at: number, cpu: number) => ({ at, age: 0, cpu });
  // The third has never been read, so it was never in the stream.
  expect(frames.take(frame(START, 1, [row(1, 5), row(2, 6)]), START)).toBe(true);
  expect(frames.take(frame(START + 1_000, 2, [row(2, 7)]), START + 1_000)).toBe(false);
  expect(cpu(columns, 2)).toBe(7);
  expect(frames.take(frame(START + 2_000, 3, [row(2, 8), row(3, 9)]), START + 2_000)).toBe(true);
});

test("a device without an entry is waited for, then asked for", () => {
  const { columns, frames } = fleet(1);
  const key = [
    { at: 1, age: 0, cpu: 5 },
    { at: 2, age: 0, cpu: 6 },
  ];
  expect(frames.take(frame(START, 1, key), START)).toBe(true);
  expect(cpu(columns, 1)).toBe(5);
  columns.entry(entry(2));
  const next = (ms: number) => frame(START + ms, 1, [{ at: 1, age: 0, cpu: 8 }], key);
  expect(frames.take(next(1_000), START + 1_000)).toBe(true);
  expect(cpu(columns, 2)).toBe(8);

  const late = fleet(1);
  late.frames.take(frame(START, 1, key), START);
  expect(late.frames.take(next(2_000), START + 2_000)).toBe(true);
  expect(late.frames.take(next(4_000), START + 4_000)).toBe(false);
});
