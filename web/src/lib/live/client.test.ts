import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { LiveClient, type Status } from "./client";
import type { Handlers } from "./room";
import type { Ack } from "./types";

/** Stands for the Socket.IO socket: says what was sent, and plays the hub. */
class FakeSocket {
  connected = false;
  active = true;
  sent: { event: string; payload: unknown; ack: (answer: unknown) => void }[] = [];
  io = { engine: { close: vi.fn() } };
  #on = new Map<string, ((...args: unknown[]) => void)[]>();

  on(event: string, listener: (...args: unknown[]) => void): this {
    this.#on.set(event, [...(this.#on.get(event) ?? []), listener]);
    return this;
  }

  emit(event: string, payload: unknown, ack: (answer: unknown) => void): this {
    this.sent.push({ event, payload, ack });
    return this;
  }

  timeout(): this {
    return this;
  }

  connect = vi.fn(() => this);

  disconnect = vi.fn(() => {
    if (this.connected) this.hub("disconnect", "io client disconnect");
    return this;
  });

  /** The hub, or the network, does this. */
  hub(event: string, ...args: unknown[]): void {
    if (event === "connect") this.connected = true;
    if (event === "disconnect") this.connected = false;
    for (const listener of this.#on.get(event) ?? []) listener(...args);
  }

  count(event: string): number {
    return this.sent.filter((sent) => sent.event === event).length;
  }
}

let socket: FakeSocket;
vi.mock("socket.io-client", () => ({ io: () => socket }));

const revoked = vi.fn();
let client: LiveClient;
let statuses: Status[];

const DEVICE = { type: "device", id: "d" } as const;
const FLEET = { type: "fleet", options: { format: "metr", version: 2 } } as const;

function device(): Handlers["device"] {
  return {
    gone: vi.fn(),
    snapshot: vi.fn(),
    stats: vi.fn(),
    container: vi.fn(),
    device: vi.fn(),
    refused: vi.fn(),
  };
}

const initial = (type: string, id: string, seq: number) => ({
  type,
  id,
  data: {},
  epoch: "e",
  seq,
});

const stats = (seq: number) => ({
  room: "device:d",
  event: "stats",
  data: {},
  timestamp: new Date().toISOString(),
  epoch: "e",
  seq,
});

beforeEach(() => {
  vi.useFakeTimers();
  socket = new FakeSocket();
  revoked.mockReset();
  client = new LiveClient(revoked);
  statuses = [];
  client.status.on((status) => statuses.push(status));
  client.connect();
});

afterEach(() => vi.useRealTimers());

test("subscribes on every connect, and unsubscribes when nobody watches", () => {
  const stop = client.watch(DEVICE, device());
  expect(socket.count("subscribe")).toBe(0);
  socket.hub("connect");
  expect(socket.count("subscribe")).toBe(1);
  socket.hub("disconnect", "transport close");
  socket.hub("connect");
  expect(socket.count("subscribe")).toBe(2);
  stop();
  expect(socket.count("unsubscribe")).toBe(1);
  expect(statuses.map(({ phase }) => phase)).toEqual([
    "connecting",
    "live",
    "reconnecting",
    "live",
  ]);
});

test("events go to the room's watchers once; a gap is made good, at most every five seconds", () => {
  const handler = device();
  client.watch(DEVICE, handler);
  socket.hub("connect");
  socket.hub("stats", stats(3));
  expect(handler.stats).not.toHaveBeenCalled();
  socket.hub("initialData", initial("device", "d", 3));
  socket.hub("stats", stats(3));
  expect(handler.stats).not.toHaveBeenCalled();
  socket.hub("stats", stats(4));
  expect(handler.stats).toHaveBeenCalledTimes(1);
  socket.hub("stats", stats(7));
  socket.hub("stats", stats(9));
  expect(handler.stats).toHaveBeenCalledTimes(3);
  expect(socket.count("subscribe")).toBe(1);
  vi.advanceTimersByTime(5_000);
  expect(socket.count("subscribe")).toBe(2);
  vi.advanceTimersByTime(60_000);
  expect(socket.count("subscribe")).toBe(2);
});

test("the fleet's frames may skip; one that cannot be placed asks for the state again", () => {
  const frame = vi.fn<(bytes: Uint8Array) => boolean>(() => true);
  const entry = vi.fn();
  const stop = client.watch(FLEET, {
    snapshot: vi.fn(),
    frame,
    entry,
    gone: vi.fn(),
    refused: vi.fn(),
  });
  socket.hub("connect");
  expect(socket.sent.at(-2)?.payload).toEqual(FLEET);
  const head = (seq: number, epoch = "e") => ({
    room: "fleet:main",
    format: "metr",
    version: 2,
    timestamp: Date.now(),
    epoch,
    seq,
  });
  socket.hub("metrics", new Uint8Array([1]).buffer, head(1));
  expect(frame).not.toHaveBeenCalled();
  socket.hub("initialData", initial("fleet", "main", 1));
  socket.hub("metrics", new Uint8Array([7, 8]).buffer, head(9));
  expect(frame).toHaveBeenLastCalledWith(new Uint8Array([7, 8]));
  // A newer frame took the place of a waiting one, before this entry.
  socket.hub("deviceEntry", { ...stats(8), room: "fleet:main", data: "an entry" });
  expect(entry).toHaveBeenCalledWith("an entry");
  socket.hub("metrics", "not bytes", head(10));
  vi.advanceTimersByTime(60_000);
  expect([frame.mock.calls.length, socket.count("subscribe")]).toEqual([1, 1]);
  frame.mockReturnValueOnce(false);
  socket.hub("metrics", new ArrayBuffer(1), head(11));
  vi.advanceTimersByTime(5_000);
  expect(socket.count("subscribe")).toBe(2);
  socket.hub("metrics", new ArrayBuffer(1), head(1, "another"));
  vi.advanceTimersByTime(5_000);
  expect(socket.count("subscribe")).toBe(3);
  stop();
  expect(socket.sent.at(-1)?.payload).toEqual({ type: "fleet" });
});

test("a log: asked for with its container, told to who follows it, again after every break", () => {
  const log = {
    wanted: vi.fn(() => ({ tail: 5 })),
    answered: vi.fn(),
    lost: vi.fn(),
    history: vi.fn(),
    batch: vi.fn(),
    gap: vi.fn(),
    unavailable: vi.fn(),
  };
  const target = { type: "container", id: "c" } as const;
  client.watch(target, { snapshot: vi.fn(), change: vi.fn(), refused: vi.fn(), log });
  socket.hub("connect");
  const asked = () => socket.sent.filter(({ event }) => event === "subscribe");
  expect(asked()[0]?.payload).toEqual({ ...target, options: { logs: { tail: 5 } } });
  asked()[0]?.ack({ ok: true });
  expect(log.answered).toHaveBeenCalledTimes(1);
  const [mine, other] = ["d:c", "d:other"].map((streamId) => ({
    streamId,
    logs: [],
    timestamp: 1,
  }));
  for (const event of ["logHistory", "logBatch", "logGap"]) {
    socket.hub(event, other);
    socket.hub(event, mine);
  }
  expect([log.history, log.batch, log.gap].map(({ mock }) => mock.calls)).toEqual([
    [[mine]],
    [[mine]],
    [[mine]],
  ]);
  const error = { code: "UNAVAILABLE", message: "no", type: "container" };
  socket.hub("error", { ...error, id: "other" });
  socket.hub("error", { ...error, id: "c", code: "RATE_LIMITED" });
  expect(log.unavailable).not.toHaveBeenCalled();
  socket.hub("error", { ...error, id: "c" });
  expect(log.unavailable).toHaveBeenCalledTimes(1);
  client.again(target);
  expect(asked().length).toBe(2);
  socket.hub("disconnect", "transport close");
  expect(log.lost).toHaveBeenCalledTimes(1);
  client.again(target);
  expect(asked().length).toBe(2);
  socket.hub("connect");
  expect(asked().length).toBe(3);
});

test("a refusal is told and asked again later; a wrong request is not", () => {
  const handler = device();
  client.watch(DEVICE, handler);
  socket.hub("connect");
  const answer = (ack: Ack) => socket.sent.findLast(({ event }) => event === "subscribe")?.ack(ack);
  answer({ ok: false, error: { code: "NOT_FOUND", message: "no such device" } });
  expect(handler.refused).toHaveBeenCalledWith({ code: "NOT_FOUND", message: "no such device" });
  vi.advanceTimersByTime(5_000);
  expect(socket.count("subscribe")).toBe(2);
  answer({ ok: false, error: { code: "BAD_REQUEST", message: "id: not a UUID" } });
  vi.advanceTimersByTime(60_000);
  expect(socket.count("subscribe")).toBe(2);
});

test("comes back when a restarting hub said so, not before", () => {
  socket.hub("connect");
  socket.connect.mockClear();
  socket.hub("serverShutdown", { message: "Server is restarting", reconnectDelay: 7_000 });
  expect(statuses.at(-1)?.phase).toBe("restarting");
  expect(socket.connected).toBe(false);
  vi.advanceTimersByTime(6_999);
  expect(socket.connect).not.toHaveBeenCalled();
  vi.advanceTimersByTime(1);
  expect(socket.connect).toHaveBeenCalledTimes(1);
  expect(revoked).not.toHaveBeenCalled();
});

test("asks about the session when the hub ends the connection or refuses it", () => {
  socket.hub("connect");
  socket.hub("disconnect", "io server disconnect");
  expect(revoked).toHaveBeenCalledTimes(1);
  socket.active = false;
  socket.hub("connect_error", Object.assign(new Error("no"), { data: { code: "UNAUTHORIZED" } }));
  expect(revoked).toHaveBeenCalledTimes(2);
  expect(statuses.at(-1)?.phase).toBe("refused");
});

test("a link that answers nothing any more is given up", () => {
  socket.hub("connect");
  const unanswered = () => {
    for (const { event, ack } of socket.sent.splice(0)) {
      if (event === "activity") ack(new Error("operation has timed out"));
    }
  };
  vi.advanceTimersByTime(1_500);
  unanswered();
  expect(socket.io.engine.close).not.toHaveBeenCalled();
  vi.advanceTimersByTime(5_000);
  unanswered();
  expect(socket.io.engine.close).toHaveBeenCalledTimes(1);
});

test("a visible page says so every five seconds, input or not", () => {
  socket.hub("connect");
  vi.advanceTimersByTime(1_500);
  const before = socket.count("activity");
  for (let i = 0; i < 100; i += 1) {
    client.act();
    vi.advanceTimersByTime(300);
  }
  expect(socket.count("activity") - before).toBe(6);
  vi.advanceTimersByTime(30_000);
  expect(socket.count("activity") - before).toBe(12);
  expect(socket.sent.at(-1)?.payload).toEqual({ visible: true });
});

test("a hidden page asks nothing", () => {
  socket.hub("connect");
  client.visible(false);
  expect(socket.sent.at(-1)?.payload).toEqual({ visible: false });
  const before = socket.count("activity");
  vi.advanceTimersByTime(60_000);
  expect(socket.count("activity")).toBe(before);
  client.visible(true);
  expect(socket.sent.at(-1)?.payload).toEqual({ visible: true });
});
