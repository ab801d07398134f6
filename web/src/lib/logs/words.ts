/** A log's lines in words: their times, what the hub marks, what is copied and saved. */
import { moment } from "../format/age";
import { bytes, latency, plural, text } from "../format/units";
import type { LogGap, LogMarker, LogVolume } from "../live/types";
import { LEVEL_SHORT } from "./levels";
import type { LogRing } from "./ring";

/** The last second whose text was made: lines of one second stand together. */
let second = NaN;
let secondText = "";

/** The time of day by the local clock with milliseconds: "11:06:40.123". */
export function lineTime(at: number): string {
  if (!Number.isFinite(at)) return "";
  const whole = Math.floor(at / 1_000);
  if (whole !== second) {
    second = whole;
    secondText = moment(whole * 1_000).slice(11);
  }
  return `${secondText}.${String(Math.floor(at) - whole * 1_000).padStart(3, "0")}`;
}

/** An instant in whole: date, microseconds where it has some, and the clock's distance from UTC. */
export function fullTime(at: number): string {
  if (!Number.isFinite(at)) return "time unknown";
  const micros = Math.round((at - Math.floor(at)) * 1_000);
  const minutes = -new Date(at).getTimezoneOffset();
  const two = (n: number) => String(Math.floor(Math.abs(n))).padStart(2, "0");
  const zone = `UTC${minutes < 0 ? "-" : "+"}${two(minutes / 60)}:${two(minutes % 60)}`;
  const day = moment(at).slice(0, 11);
  return `${day}${lineTime(at)}${micros ? String(micros).padStart(3, "0") : ""} ${zone}`;
}

/** Reads a line's time, keeping what is finer than a millisecond as far as the number can. */
export function readStamp(stamp: string): number {
  const fine = /\.\d{3}(\d{1,6})/.exec(stamp);
  const at = Date.parse(fine ? stamp.replace(/(\.\d{3})\d+/, "$1") : stamp);
  return fine ? at + Number(`0.${fine[1]}`) : at;
}

const MARKERS: Record<LogMarker, string> = {
  started: "container started",
  stopped: "container stopped",
  recreated: "container made anew",
  lost: "lines lost before they came to the hub: the engine had thrown them away",
};

/** What a marker says; the hub may know more of it. */
export function markerText(marker: LogMarker, message: string): string {
  return message || MARKERS[marker] || marker;
}

export function gapText({ fromSeq, toSeq, dropped }: LogGap): string {
  const numbers = fromSeq === toSeq ? `number ${fromSeq}` : `numbers ${fromSeq} to ${toSeq}`;
  return `${plural(dropped, "line")} dropped here: ${numbers} came faster than they could be passed on, or are no longer held`;
}

/** Of a log of several, where nobody knows whose. */
export function slowText(dropped: number): string {
  return `${plural(dropped, "line")} dropped here: they came faster than they could be passed on`;
}

export const ANEW_TEXT =
  "The hub began to count this log anew: lines written in between may be missing here";

/** What has been logged since the log is followed, and how it fares. */
export function volumeText({ lines, bytes: size, dropped, lagMs }: LogVolume): string {
  return [
    `${plural(lines, "line")}, ${text(bytes(size))} since it is followed`,
    dropped > 0 ? `${plural(dropped, "line")} dropped` : "none dropped",
    lagMs === undefined ? "" : `${text(latency(lagMs / 1_000))} behind`,
  ]
    .filter(Boolean)
    .join(" · ");
}

export const BREAK_TEXT = "The connection was gone: lines written in between may be missing here";

/** How much of a line is not shown, or was never sent. */
export function sizeText(count: number): string {
  return text(bytes(count));
}

/** A line as it is copied and saved: when, how grave, of whom among several, and as it came. */
export function lineCopy(ring: LogRing, position: number, of?: string): string {
  const special = ring.special(position);
  const at = ring.at(position);
  const when = Number.isFinite(at) ? new Date(at).toISOString() : "-";
  if (special) return `${when} ---- ${ring.message(position)}`;
  const level = LEVEL_SHORT[ring.level(position)].trim() || "-";
  const cut = ring.cut(position);
  const rest = cut ? ` [${cut} bytes cut off]` : "";
  const whose = of === undefined ? "" : `${of} | `;
  return `${when} ${level.padEnd(4)} ${whose}${ring.raw(position) ?? ring.message(position)}${rest}`;
}
