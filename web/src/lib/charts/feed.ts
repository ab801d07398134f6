import { Emitter } from "../live/emitter";
import type { Bands } from "./bands";
import type { Columns } from "./columns";

/** What charts draw from: columns, and word when they have changed. */
export interface Feed<Name extends string> {
  readonly columns: Columns<Name>;
  /** What points stand for that are the mean of a longer time; absent where there are none. */
  readonly bands?: Bands;
  readonly changed: Emitter<void>;
}

/** A part of the time axis, epoch milliseconds. */
export interface Window {
  from: number;
  to: number;
}

/** The ranges that can be picked: how far back the axis reaches, milliseconds. */
export const RANGES = [
  { key: "1m", label: "1 min", ms: 60_000 },
  { key: "5m", label: "5 min", ms: 300_000 },
  { key: "10m", label: "10 min", ms: 600_000 },
] as const;

export const DEFAULT_RANGE = "10m";

/** Reads a zoom from the address: "from-to" in epoch seconds. */
export function parseZoom(text: string | null): Window | undefined {
  const match = /^(\d{9,11})-(\d{9,11})$/.exec(text ?? "");
  const from = Number(match?.[1]) * 1_000;
  const to = Number(match?.[2]) * 1_000;
  return match && from < to ? { from, to } : undefined;
}

/** The same as text for the address. */
export function zoomText({ from, to }: Window): string {
  return `${Math.floor(from / 1_000)}-${Math.ceil(to / 1_000)}`;
}

/** What the axis shows now: the zoom, or the last `span` milliseconds before the newest point. */
export function visible(zoom: Window | undefined, span: number, newest: number): Window {
  return zoom ?? { from: newest - span, to: newest };
}
