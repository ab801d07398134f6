/** A chart on a canvas: uPlot, set up as this page's charts are to look and behave. */
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { clockTime } from "../format/age";
import { text } from "../format/units";
import { token } from "../theme.svelte";
import type { Window } from "./feed";
import type { Drawn } from "./gaps";
import type { Band } from "./bands";
import { quantity, type Panel } from "./panel";
import { top } from "./scale";

/** Room for the values of the y axis, so that the axes of all charts stand in one line. */
const AXIS_WIDTH = 62;
/** Room for the time below a chart. */
export const TIME_HEIGHT = 24;

export interface PlotOptions {
  panel: Panel;
  /** Charts of the same key share one cursor. */
  sync: string;
  /** Whether the time is written below. */
  time: boolean;
  width: number;
  height: number;
  /** The point under the cursor, or null. */
  pointed: (index: number | null) => void;
  /** A part was dragged over; undefined: all of it is wanted again. */
  zoomed: (window: Window | undefined) => void;
  /** An instant was clicked, epoch milliseconds. */
  chosen?: (at: number) => void;
}

/** From so many pixels on a drag is meant as one. */
const DRAG = 6;

const STROKES = ["--series-1", "--series-2", "--series-3"];

export class Plot {
  #u: uPlot;
  #window: Window = { from: 0, to: 1 };
  #height: number;
  #bands: readonly Band[] = [];
  /** Whether the cursor stands where something else points. */
  #pointedAt = false;

  constructor(
    element: HTMLElement,
    private readonly options: PlotOptions,
  ) {
    this.#height = options.height + (options.time ? TIME_HEIGHT : 0);
    const empty = [[], ...options.panel.series.map(() => [])] as unknown as uPlot.AlignedData;
    this.#u = new uPlot(this.#setup(), empty, element);
  }

  /** `bands` are what points stand for that are the mean of a longer time. */
  draw(data: Drawn, window: Window, bands: readonly Band[] = []): void {
    this.#window = window;
    this.#bands = bands.filter(({ from, to }) => to >= window.from && from <= window.to);
    this.#u.batch(() => {
      this.#u.setData(data as uPlot.AlignedData, false);
      this.#u.setScale("x", { min: window.from, max: window.to });
    });
  }

  /** Puts the cursor at an instant, or takes it away again. */
  pointAt(at: number | undefined): void {
    const inside = at !== undefined && at >= this.#window.from && at <= this.#window.to;
    if (!inside && !this.#pointedAt) return;
    this.#pointedAt = inside;
    const left = inside ? this.#u.valToPos(at, "x") : -10;
    this.#u.setCursor({ left, top: inside ? 0 : -10 });
  }

  resize(width: number): void {
    this.#u.setSize({ width, height: this.#height });
  }

  /** Draws again, with the colours of now. */
  recolour(): void {
    this.#u.redraw(true, true);
  }

  destroy(): void {
    this.#u.destroy();
  }

  #setup(): uPlot.Options {
    const { panel, sync, time, width, pointed, zoomed } = this.options;
    const font = `11px ${token("--font")}`;
    const axis: uPlot.Axis = {
      font,
      stroke: () => token("--fg-3"),
      grid: { stroke: () => token("--grid"), width: 1 },
      ticks: { show: false },
    };
    return {
      width,
      height: this.#height,
      ms: 1,
      padding: [8, 18, time ? 0 : 4, 0],
      legend: { show: false },
      scales: {
        x: { time: true, auto: false, range: () => [this.#window.from, this.#window.to] },
        y: { range: (_u, _min, max) => [0, top(panel.kind, this.#highest(max))] },
      },
      axes: [
        {
          ...axis,
          size: time ? TIME_HEIGHT : 0,
          space: 80,
          gap: 4,
          values: (_u, splits) => splits.map((at) => (time ? clock(at, splits) : "")),
        },
        {
          ...axis,
          size: AXIS_WIDTH,
          gap: 6,
          space: 28,
          // Only zero, half and the whole: enough to read by, and it never jumps.
          splits: (u) => [0, (u.scales["y"]?.max ?? 1) / 2, u.scales["y"]?.max ?? 1],
          values: (_u, splits) =>
            splits.map((value) => (value === 0 ? "0" : text(tidy(quantity(panel.kind, value))))),
        },
      ],
      series: [
        {},
        ...panel.series.map((series, i): uPlot.Series => ({
          label: series.label,
          stroke: () => token(STROKES[i] ?? "--fg-3"),
          width: 1.25,
          spanGaps: false,
          points: { show: false },
          // The first is told from the others by its area too, not by colour alone.
          ...(i === 0 ? { fill: () => token("--series-fill") } : {}),
        })),
      ],
      cursor: {
        y: false,
        points: { size: 5 },
        drag: { x: true, y: false, setScale: false },
        sync: { key: sync, setSeries: false },
        bind: {
          dblclick: () => () => {
            zoomed(undefined);
            return null;
          },
        },
      },
      hooks: {
        drawAxes: [(u) => this.#drawBands(u)],
        ready: [
          (u) => {
            const { chosen } = this.options;
            // uPlot itself takes away the click that ends a drag.
            u.over.addEventListener("click", (event) => {
              if (event.detail === 1) chosen?.(u.posToVal(event.offsetX, "x"));
            });
          },
        ],
        setCursor: [
          (u) =>
            pointed(u.cursor.left != null && u.cursor.left >= 0 ? (u.cursor.idx ?? null) : null),
        ],
        setSelect: [
          (u) => {
            const { left, width } = u.select;
            // A click that slipped is not a wish to zoom.
            if (width < DRAG) return;
            zoomed({ from: u.posToVal(left, "x"), to: u.posToVal(left + width, "x") });
            u.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
          },
        ],
      },
    };
  }

  /** The highest of what is drawn, bands included. */
  #highest(max: number | null): number | null {
    return this.#bands.reduce<number | null>(
      (highest, band) => Math.max(highest ?? 0, band.max),
      max,
    );
  }

  /** Below the lines: from the least to the greatest of each half minute. */
  #drawBands(u: uPlot): void {
    if (this.#bands.length === 0) return;
    const { ctx, bbox } = u;
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    ctx.fillStyle = token("--band");
    for (const { from, to, min, max } of this.#bands) {
      const [left, right] = [u.valToPos(from, "x", true), u.valToPos(to, "x", true)];
      const [high, low] = [u.valToPos(max, "y", true), u.valToPos(min, "y", true)];
      ctx.fillRect(left, high, right - left, Math.max(low - high, 1));
    }
    ctx.restore();
  }
}

/** An axis's time: seconds only where the marks are that close. */
function clock(at: number, splits: number[]): string {
  const close = (splits[1] ?? 0) - (splits[0] ?? 0) < 60_000;
  return close ? clockTime(at) : clockTime(at).slice(0, 5);
}

/** A round number without its trailing zeros: "2 MB/s", not "2.00 MB/s". */
function tidy(of: { value: string; unit: string }): { value: string; unit: string } {
  const value = of.value.includes(".") ? of.value.replace(/\.?0+$/, "") : of.value;
  return { value, unit: of.unit };
}
