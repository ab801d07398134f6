/** Draws the last minute of a device's CPU, 0 to 100 %, on its row's canvas. */
import { token } from "../theme.svelte";
import { SPAN_S, type Sparks } from "./sparks";

const WIDTH = 88;
const HEIGHT = 20;
/** Readings further apart than this are not joined, seconds: a pause, or a slower pace. */
const JOIN_S = 12;

export class Sparkline {
  #context: CanvasRenderingContext2D | null;

  constructor(private readonly canvas: HTMLCanvasElement) {
    canvas.style.width = `${WIDTH}px`;
    canvas.style.height = `${HEIGHT}px`;
    this.#context = canvas.getContext("2d");
  }

  /** Draws the minute that ends with the newest reading, `end` in epoch milliseconds. */
  draw(sparks: Sparks, slot: number, end: number): void {
    const context = this.#context;
    if (!context) return;
    const scale = Math.max(1, devicePixelRatio);
    if (this.canvas.width !== Math.round(WIDTH * scale)) {
      this.canvas.width = Math.round(WIDTH * scale);
      this.canvas.height = Math.round(HEIGHT * scale);
    }
    context.setTransform(scale, 0, 0, scale, 0, 0);
    context.clearRect(0, 0, WIDTH, HEIGHT);
    context.strokeStyle = token("--series-1");
    context.fillStyle = context.strokeStyle;
    context.lineWidth = 1.25;
    context.lineJoin = "round";
    context.beginPath();
    let before: number | undefined;
    sparks.each(slot, end, (secondsAgo, value) => {
      const x = ((SPAN_S - 1 - secondsAgo) / (SPAN_S - 1)) * (WIDTH - 2) + 1;
      const y = HEIGHT - 1.5 - (Math.min(value, 100) / 100) * (HEIGHT - 3);
      if (before !== undefined && before - secondsAgo <= JOIN_S) context.lineTo(x, y);
      else {
        // A point alone would not be seen as a line.
        context.fillRect(x - 0.75, y - 0.75, 1.5, 1.5);
        context.moveTo(x, y);
      }
      before = secondsAgo;
    });
    context.stroke();
  }
}
