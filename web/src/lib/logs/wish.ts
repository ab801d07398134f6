/** What the address says of a log: which lines the hub is to send, and how they are shown. */
import type { LogFilters, LogLevel, LogOutput } from "../live/types";
import { LEVELS } from "./levels";

/** Picked fields at most: more columns leave no room for the message. */
const MOST_COLUMNS = 6;

/** The filters of an address; undefined where all lines are wanted. */
export function readFilters(query: URLSearchParams): LogFilters | undefined {
  const filters: LogFilters = {};
  const level = LEVELS.find((level) => level === query.get("level"));
  if (level) filters.level = level;
  const text = query.get("only");
  if (text) {
    const regex = /^\/(.+)\/(i?)$/.exec(text);
    if (regex) filters.regex = (regex[2] ? "(?i)" : "") + (regex[1] ?? "");
    else filters.text = text;
    if (query.get("not") === "1") filters.inverse = true;
  }
  const stream = query.get("stream");
  if (stream === "stdout" || stream === "stderr") filters.stream = stream;
  const fields = query.getAll("field").flatMap((field) => {
    const at = field.indexOf("=");
    return at > 0 ? [[field.slice(0, at), field.slice(at + 1)] as const] : [];
  });
  if (fields.length > 0) filters.fields = Object.fromEntries(fields);
  return Object.keys(filters).length > 0 ? filters : undefined;
}

/** The fields that are shown as columns. */
export function readColumns(query: URLSearchParams): string[] {
  const names = query.getAll("col").filter((name) => name !== "");
  return [...new Set(names)].slice(0, MOST_COLUMNS);
}

/** A line's place in the address: `epoch-seq`, and `@` its time, for when it is only stored. */
export function lineText(epoch: string, seq: number, at = NaN): string {
  return `${epoch}-${seq}${Number.isFinite(at) ? `@${at.toFixed(3)}` : ""}`;
}

export function readLine(
  text: string | null,
): { epoch: string; seq: number; at?: number } | undefined {
  const match = /^(.{1,200})-(\d{1,15})(?:@(\d{1,14}\.\d{3}))?$/.exec(text ?? "");
  if (!match) return undefined;
  const line = { epoch: match[1] ?? "", seq: Number(match[2]) };
  return match[3] === undefined ? line : { ...line, at: Number(match[3]) };
}

/** How the same level is asked for again: off. */
export function toggled(now: LogLevel | undefined, wanted: LogLevel): LogLevel | undefined {
  return now === wanted ? undefined : wanted;
}

export const OUTPUTS: readonly LogOutput[] = ["stdout", "stderr"];

/** Reads a time of day, "14:05" or "14:05:09.5", as the last such instant before `now`. */
export function readTime(text: string, now: number): number | undefined {
  const match = /^(\d{1,2}):(\d{2})(?::(\d{2}(?:\.\d{1,3})?))?$/.exec(text.trim());
  if (!match) {
    // A whole date, as in the title of a line's time.
    const at = /^\d{4}-\d\d-\d\d[ T]\d/.test(text.trim()) ? Date.parse(text.trim()) : NaN;
    return Number.isNaN(at) ? undefined : at;
  }
  const [hour, minute, second] = [Number(match[1]), Number(match[2]), Number(match[3] ?? 0)];
  if (hour > 23 || minute > 59 || second >= 60) return undefined;
  const date = new Date(now);
  date.setHours(hour, minute, 0, second * 1_000);
  if (date.getTime() > now) date.setDate(date.getDate() - 1);
  return date.getTime();
}
