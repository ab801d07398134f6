import { expect, test } from "vitest";
import type { EventRate, System } from "../live/types";
import { Busiest } from "./busiest";
import { figure, SYSTEM_PANELS, SYSTEM_SERIES } from "./panels";

const system: System = {
  sampledAt: "2026-11-18T11:06:40.000Z",
  totalConnections: 21,
  connectionsByNamespace: { "/": 21 },
  messagesPerSecond: { in: 2, out: 30.5 },
  averageMessageSize: { out: 312 },
  errorRate: 0.5,
  errors: {},
  topEvents: [],
  clientDistribution: { byTransport: {}, byRoomType: {} },
  closed: { client: { perSecond: 1, total: 7 }, stalled: { perSecond: 2, total: 2 } },
  delivery: { p50: 0.0001 },
  backlogBytes: 4096,
  conflatedPerSecond: 0,
  process: { cpu: 12.5, memoryBytes: 1024 },
  uptime: 60,
  interval: 1,
  version: "0.1.0",
};

test("each charted figure is found in what the hub tells; what is absent is not 0", () => {
  expect(Object.fromEntries(SYSTEM_SERIES.map((name) => [name, figure(system, name)]))).toEqual({
    connections: 21,
    messagesIn: 2,
    messagesOut: 30.5,
    deliveryP50: 0.0001,
    deliveryP99: undefined,
    errors: 0.5,
    closed: 3,
    backlog: 4096,
    conflated: 0,
    dropped: undefined,
    cpu: 12.5,
    memory: 1024,
  });
  expect(figure({ ...system, closed: {} }, "closed")).toBe(0);
  const unknown = { ...system, closed: { ...system.closed, client: { total: 1 } } };
  expect(figure(unknown, "closed")).toBeUndefined();
});

test("every series is drawn in one chart", () => {
  const drawn = SYSTEM_PANELS.flatMap(({ series }) => series.map(({ name }) => name));
  expect([...drawn].sort()).toEqual([...SYSTEM_SERIES].sort());
});

const out = (event: string, perSecond: number): EventRate => ({
  event,
  direction: "out",
  perSecond,
});

const names = (rows: EventRate[]) => rows.map(({ event }) => event);

test("an event that comes in every other reading has a steady mean", () => {
  const busiest = new Busiest();
  let rows: EventRate[] = [];
  for (let i = 0; i < 20; i += 1) rows = busiest.push(i % 2 === 0 ? [out("stats", 2)] : []);
  expect(rows).toHaveLength(1);
  expect(rows[0]?.perSecond).toBeCloseTo(1);
  for (let i = 0; i < 10; i += 1) rows = busiest.push([]);
  expect(rows).toEqual([]);
});

test("rows keep their place between two orderings, and new ones go to the end", () => {
  const busiest = new Busiest();
  expect(names(busiest.push([out("a", 3), out("b", 2)]))).toEqual(["a", "b"]);
  expect(names(busiest.push([out("a", 1), out("b", 20), out("c", 50)]))).toEqual(["a", "b", "c"]);
  for (let i = 0; i < 3; i += 1) busiest.push([out("a", 1), out("b", 20), out("c", 50)]);
  expect(names(busiest.push([out("a", 1), out("b", 20), out("c", 50)]))).toEqual(["c", "b", "a"]);
  busiest.clear();
  expect(names(busiest.push([out("d", 1)]))).toEqual(["d"]);
});

test("an event that goes both ways is two rows, and there are ten at most", () => {
  const busiest = new Busiest();
  const both = busiest.push([out("x", 1), { event: "x", direction: "in", perSecond: 5 }]);
  expect(both.map(({ direction }) => direction)).toEqual(["in", "out"]);
  busiest.clear();
  const many = Array.from({ length: 10 }, (_, i) => out(`e${i}`, i));
  busiest.push(many);
  expect(busiest.push([out("new", 1_000)])).toHaveLength(10);
});
