/**
 * The live connection: one Socket.IO connection a page, and on it the rooms that views watch.
 * Subscribes again after every reconnect and wherever a room's numbering shows a gap.
 */
import { io, type Socket } from "socket.io-client";
import { Emitter } from "./emitter";
import { Pulse } from "./pulse";
import {
  METHODS,
  Room,
  roomName,
  type AnyHandler,
  type Handlers,
  type LogHandler,
  type RoomEvent,
} from "./room";
import { Skew } from "./skew";
import type {
  Ack,
  Envelope,
  ErrorBody,
  FrameHead,
  InitialData,
  LogBatch,
  LogGap,
  LogHistory,
  RoomType,
  Target,
} from "./types";

export type Phase =
  | "idle"
  | "connecting"
  | "live"
  | "reconnecting"
  /** The hub said that it restarts and when to come back. */
  | "restarting"
  /** The hub does not let us in; only a new sign-in helps. */
  | "refused";

export interface Status {
  phase: Phase;
  /** What went wrong, in the hub's or the browser's words. */
  reason?: string | undefined;
  /** When the next try is due, epoch milliseconds; known only while the hub restarts. */
  retryAt?: number | undefined;
}

/** A room is asked for again at most so often, however many gaps it shows. */
const RESYNC_MS = 5_000;

export class LiveClient {
  readonly status = new Emitter<Status>();
  /** The way to the hub and back in milliseconds; undefined while it is not known. */
  readonly latency = new Emitter<number | undefined>();
  readonly skew = new Skew();
  /** When anything last came from the hub, epoch milliseconds. */
  lastDataAt: number | undefined;

  #socket: Socket;
  #rooms = new Map<string, Room>();
  #pulse: Pulse;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #phase: Phase = "idle";

  /** `revoked` is called when the hub ends the connection or refuses it: the session may be over. */
  constructor(private readonly revoked: (reason: string) => void) {
    this.#socket = io({
      autoConnect: false,
      transports: ["websocket", "polling"],
      tryAllTransports: true,
      withCredentials: true,
      reconnectionDelay: 500,
      reconnectionDelayMax: 5_000,
      randomizationFactor: 0.5,
      timeout: 10_000,
    });
    this.#pulse = new Pulse(this.#socket, (latency) => this.latency.emit(latency));
    this.#listen();
  }

  connect(): void {
    if (this.#socket.connected || this.#phase === "connecting") return;
    this.#set({ phase: "connecting" });
    this.#socket.connect();
  }

  disconnect(): void {
    clearTimeout(this.#retry);
    this.#pulse.stop();
    this.#socket.disconnect();
    this.#set({ phase: "idle" });
  }

  /** Tries again now instead of waiting: the network came back, or somebody looks again. */
  retryNow(): void {
    if (this.#phase !== "reconnecting") return;
    this.#socket.disconnect().connect();
  }

  /** Watches a room until the returned function is called. */
  watch<T extends RoomType>(target: Target & { type: T }, handler: Handlers[T]): () => void {
    const name = roomName(target);
    let room = this.#rooms.get(name);
    if (!room) this.#rooms.set(name, (room = new Room(target)));
    room.handlers.add(handler as AnyHandler);
    if (this.#socket.connected) this.#subscribe(room);
    const watched = room;
    return () => {
      watched.handlers.delete(handler as AnyHandler);
      if (watched.handlers.size > 0 || this.#rooms.get(name) !== watched) return;
      this.#rooms.delete(name);
      const { type, id } = target;
      if (this.#socket.connected) this.#socket.emit("unsubscribe", { type, id }, () => {});
    };
  }

  /** Asks for a room again at once: something else of it is wanted. */
  again(target: Target): void {
    const room = this.#rooms.get(roomName(target));
    if (room && this.#socket.connected) this.#subscribe(room);
  }

  /** Tells the hub whether anybody can see this page. */
  visible(visible: boolean): void {
    this.#pulse.visible(visible);
    if (visible) this.retryNow();
  }

  /** Tells the hub, seldom enough, that somebody uses this page. */
  act(): void {
    this.#pulse.act();
  }

  #set(status: Status): void {
    this.#phase = status.phase;
    this.status.emit(status);
  }

  #subscribe(room: Room): void {
    clearTimeout(room.resync);
    room.resync = undefined;
    room.askedAt = Date.now();
    this.#socket.emit("subscribe", room.request(), (answer: Ack) => {
      for (const log of room.logs()) log.answered();
      if (answer.ok) return;
      const error = answer.error ?? unexplained;
      room.refused(error);
      // What is not there now may come: right after its start a hub does not know its containers.
      if (error.code !== "BAD_REQUEST") this.#resync(room, Date.now());
    });
  }

  #listen(): void {
    const socket = this.#socket;
    socket.on("connect", () => {
      this.skew.reset();
      this.#set({ phase: "live" });
      for (const room of this.#rooms.values()) this.#subscribe(room);
      this.#pulse.start();
    });
    socket.on("disconnect", (reason) => {
      this.#pulse.stop();
      for (const room of this.#rooms.values()) for (const log of room.logs()) log.lost();
      if (this.#phase === "restarting" || this.#phase === "idle") return;
      this.#set({ phase: "reconnecting", reason: `the connection was lost (${reason})` });
      if (reason === "io server disconnect") this.revoked("the hub ended the connection");
    });
    socket.on("connect_error", (error: Error & { data?: { code?: string } }) => {
      if (this.#phase === "idle") return;
      if (socket.active) {
        this.#set({ phase: "reconnecting", reason: error.message });
      } else {
        // The hub answered and said no; trying again by ourselves would change nothing.
        this.#set({ phase: "refused", reason: error.message });
        if (error.data?.code === "UNAUTHORIZED") this.revoked(error.message);
      }
    });
    socket.on("serverShutdown", (notice: { message?: string; reconnectDelay?: number }) => {
      const delay = Math.min(Math.max(notice.reconnectDelay ?? 5_000, 0), 60_000);
      this.#pulse.stop();
      this.#set({
        phase: "restarting",
        reason: notice.message,
        retryAt: Date.now() + delay,
      });
      socket.disconnect();
      clearTimeout(this.#retry);
      this.#retry = setTimeout(() => {
        this.#set({ phase: "reconnecting", reason: notice.message });
        socket.connect();
      }, delay);
    });
    socket.on("initialData", (initial: InitialData) => {
      this.lastDataAt = Date.now();
      const room = this.#rooms.get(roomName(initial));
      if (!room) return;
      room.position.snapshot(initial.epoch, initial.seq);
      room.snapshot(initial.data);
    });
    for (const event of Object.keys(METHODS) as RoomEvent[]) {
      socket.on(event, (message: Envelope) => this.#event(event, message));
    }
    socket.on("metrics", (bytes: unknown, head: FrameHead) => this.#frame(bytes, head));
    socket.on("logHistory", (history: LogHistory) => {
      for (const log of this.#logs(history)) log.history(history);
    });
    socket.on("logBatch", (batch: LogBatch) => {
      this.#came(batch.timestamp);
      for (const log of this.#logs(batch)) log.batch(batch);
    });
    socket.on("logGap", (gap: LogGap) => {
      for (const log of this.#logs(gap)) log.gap(gap);
    });
    socket.on("error", (error: ErrorBody & { type?: string; id?: string }) => {
      // What answers a subscribe is told by its answer, too.
      if (error.code !== "UNAVAILABLE" || !/^(container|logs)$/.test(error.type ?? "")) return;
      const room = this.#rooms.get(`${error.type}:${error.id}`);
      for (const log of room?.logs() ?? []) log.unavailable(error);
    });
  }

  #event(event: RoomEvent, message: Envelope): void {
    const now = this.#came(message.timestamp);
    const room = this.#rooms.get(message.room);
    if (!room || !room.position.known) return;
    if (room.sparse) {
      const same = room.position.follow(message.epoch, message.seq);
      room.event(event, message.data);
      if (!same) this.#resync(room, now);
      return;
    }
    const verdict = room.position.judge(message.epoch, message.seq);
    if (verdict === "repeat") return;
    room.event(event, message.data);
    if (verdict === "gap") this.#resync(room, now);
  }

  /** Who follows a stream: a container's is named `deviceUuid:containerId`, others as their room. */
  #logs({ room, streamId }: { room?: string; streamId: string }): Iterable<LogHandler> {
    this.lastDataAt = Date.now();
    const container = `container:${streamId.slice(streamId.indexOf(":") + 1)}`;
    const rooms = [room ?? "", `logs:${streamId}`, container];
    return (
      rooms
        .map((name) => this.#rooms.get(name))
        .find((found) => found)
        ?.logs() ?? []
    );
  }

  /** A frame of figures; who reads it says when it needs the state again. */
  #frame(bytes: unknown, head: FrameHead): void {
    const now = this.#came(head.timestamp);
    const room = this.#rooms.get(head.room);
    if (!room || !room.position.known || !(bytes instanceof ArrayBuffer)) return;
    const strange = !room.position.follow(head.epoch, head.seq);
    if (!room.frame(new Uint8Array(bytes)) || strange) this.#resync(room, now);
  }

  /** Something came that the hub stamped so. */
  #came(timestamp: string | number): number {
    const now = Date.now();
    this.lastDataAt = now;
    this.skew.observe(typeof timestamp === "number" ? timestamp : Date.parse(timestamp), now);
    return now;
  }

  /** Asks for a room's state again, at once or as soon as it is time. */
  #resync(room: Room, now: number): void {
    if (room.resync !== undefined) return;
    const wait = Math.max(0, room.askedAt + RESYNC_MS - now);
    room.resync = setTimeout(() => {
      room.resync = undefined;
      if (this.#socket.connected && this.#rooms.has(roomName(room.target))) this.#subscribe(room);
    }, wait);
  }
}

const unexplained: ErrorBody = {
  code: "UNAVAILABLE",
  message: "The hub refused the subscription without saying why",
};
