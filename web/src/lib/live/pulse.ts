import type { Socket } from "socket.io-client";

/** How often the way to the hub is timed while somebody looks, milliseconds. */
const EVERY_MS = 10_000;
/** When it is first timed after a connect; before that the page is busy drawing its first state. */
const SETTLE_MS = 1_500;
/** How long an answer may take. */
const ANSWER_MS = 5_000;
/** After so many missing answers the connection counts as dead. */
const MISSES = 2;

/**
 * Tells the hub whether the page is visible, and times its answers. The protocol's own heartbeat
 * needs up to 85 s to notice a dead link; a monitor must know sooner.
 */
export class Pulse {
  #timer: ReturnType<typeof setInterval> | undefined;
  #settle: ReturnType<typeof setTimeout> | undefined;
  #visible = true;
  #misses = 0;

  constructor(
    private readonly socket: Socket,
    private readonly measured: (latency: number | undefined) => void,
  ) {}

  start(): void {
    this.stop();
    this.#misses = 0;
    this.socket.emit("activity", { visible: this.#visible }, () => {});
    this.#timer = setInterval(() => {
      if (this.#visible) this.#beat();
    }, EVERY_MS);
    this.#settle = setTimeout(() => {
      if (this.#visible) this.#beat();
    }, SETTLE_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
    clearTimeout(this.#settle);
    this.#timer = undefined;
    this.measured(undefined);
  }

  visible(visible: boolean): void {
    this.#visible = visible;
    if (this.#timer !== undefined) this.#beat();
  }

  #beat(): void {
    const started = performance.now();
    const running = this.#timer;
    this.socket
      .timeout(ANSWER_MS)
      .emit("activity", { visible: this.#visible }, (missing: Error | null) => {
        // An answer that belongs to an earlier connection says nothing about this one.
        if (running !== this.#timer) return;
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
