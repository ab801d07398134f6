import type { Socket } from "socket.io-client";
import { Activity, BEAT_MS } from "./activity";

/** When the way is first timed after a connect; before that the page is busy drawing its state. */
const SETTLE_MS = 1_500;
/** How long an answer may take. */
const ANSWER_MS = 5_000;
/** After so many missing answers the connection counts as dead. */
const MISSES = 2;

/**
 * Tells the hub whether anybody looks, and times its answers. The protocol's own heartbeat needs up
 * to 85 s to notice a dead link; a monitor must know sooner.
 */
export class Pulse {
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Counts connections: an answer that belongs to an earlier one says nothing of this one. */
  #connection = 0;
  #running = false;
  #misses = 0;
  #activity = new Activity(true);

  constructor(
    private readonly socket: Socket,
    private readonly measured: (latency: number | undefined) => void,
  ) {}

  start(): void {
    this.stop();
    this.#running = true;
    this.#misses = 0;
    const visible = this.#activity.say(Date.now());
    this.socket.emit("activity", { visible }, () => {});
    if (visible) this.#timer = setTimeout(() => this.#beat(), SETTLE_MS);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#running = false;
    this.#connection += 1;
    this.measured(undefined);
  }

  /** Somebody looks at the page, or can no longer. */
  visible(visible: boolean): void {
    this.#say(this.#activity.look(visible, Date.now()));
  }

  /** Somebody did something in the page. */
  act(): void {
    this.#say(this.#activity.act(Date.now()));
  }

  #beat(): void {
    this.#say(this.#activity.say(Date.now()));
  }

  #say(visible: boolean | undefined): void {
    if (visible === undefined || !this.#running) return;
    clearTimeout(this.#timer);
    if (visible) this.#timer = setTimeout(() => this.#beat(), BEAT_MS);
    const started = performance.now();
    const connection = this.#connection;
    this.socket.timeout(ANSWER_MS).emit("activity", { visible }, (missing: Error | null) => {
      if (connection !== this.#connection) return;
      if (!missing) {
        this.#misses = 0;
        this.measured(performance.now() - started);
      } else if (this.socket.connected) {
        this.measured(undefined);
        this.#misses += 1;
        if (this.#misses >= MISSES) this.socket.io.engine.close();
      }
    });
  }
}
