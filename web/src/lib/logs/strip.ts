/** Beside the scrollbar: where the matches are, and where errors are. */
import { token } from "../theme.svelte";
import type { Find } from "./find";
import { ERROR } from "./levels";
import type { LogRing } from "./ring";

/** Drawn at most so often, milliseconds: it looks at every line. */
const EVERY_MS = 250;

export class Strip {
  #timer: ReturnType<typeof setTimeout> | undefined;
  #drawnAt = 0;

  constructor(
    private readonly canvas: HTMLCanvasElement,
    private readonly ring: LogRing,
    private readonly find: () => Find | undefined,
    /** An instant that a chart points at. */
    private readonly pointed: () => number | undefined,
    /** Lines that are not shown. */
    private readonly hidden: (position: number) => boolean,
  ) {}

  /** Draws soon. A long log is looked at less often. */
  draw(): void {
    if (this.#timer !== undefined) return;
    const pause = EVERY_MS + this.ring.length / 500;
    const wait = Math.max(0, this.#drawnAt + pause - performance.now());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      requestAnimationFrame(() => this.#draw());
    }, wait);
  }

  stop(): void {
    clearTimeout(this.#timer);
  }

  #draw(): void {
    const { canvas, ring } = this;
    this.#drawnAt = performance.now();
    const ratio = devicePixelRatio;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
    if (canvas.width !== w) canvas.width = w;
    if (canvas.height !== h) canvas.height = h;
    const context = canvas.getContext("2d");
    if (!context || h === 0) return;
    context.clearRect(0, 0, w, h);
    if (ring.length === 0) return;
    const mark = Math.max(1, Math.round(2 * ratio));
    const y = (position: number) =>
      Math.floor(((position - ring.first) / ring.length) * (h - mark));
    // A pixel is marked once, however many lines it stands for.
    const half = Math.floor(w / 2);
    context.fillStyle = token("--bad-fill");
    let last = -1;
    for (let position = ring.first; position < ring.end; position += 1) {
      if (ring.level(position) < ERROR || this.hidden(position)) continue;
      const at = y(position);
      if (at !== last) context.fillRect(0, at, half, mark);
      last = at;
    }
    const find = this.find();
    context.fillStyle = token("--accent");
    last = -1;
    for (let rank = 0; find && rank < find.count; rank += 1) {
      const at = y(find.match(rank) ?? 0);
      if (at !== last) context.fillRect(half, at, w - half, mark);
      last = at;
    }
    const time = this.pointed();
    if (time !== undefined) {
      context.fillStyle = token("--cursor");
      context.fillRect(0, y(Math.min(ring.atTime(time), ring.end - 1)), w, mark);
    }
  }
}
