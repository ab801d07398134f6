/** The time that is searched, as the address says it. */
import { readTime } from "../logs/wish";

/** From how long ago; `undefined`: everything stored. */
export const AGO: readonly { key: string; label: string; ms: number }[] = [
  { key: "15m", label: "15 min", ms: 900e3 },
  { key: "1h", label: "hour", ms: 3_600e3 },
  { key: "24h", label: "day", ms: 86_400e3 },
  { key: "7d", label: "week", ms: 604_800e3 },
];

export interface Range {
  /** Epoch milliseconds; -Infinity: as far back as there is something. */
  from: number;
  to: number;
}

/** Reads `range` or `from` and `to`; a plain address means all that is stored. */
export function readRange(query: URLSearchParams, now: number): Range {
  const ago = AGO.find(({ key }) => key === query.get("range"));
  if (ago) return { from: now - ago.ms, to: now };
  const [from, to] = [read(query.get("from"), now), read(query.get("to"), now)];
  return { from: from ?? -Infinity, to: to ?? now };
}

function read(text: string | null, now: number): number | undefined {
  if (!text) return undefined;
  return /^\d{12,14}$/.test(text) ? Number(text) : readTime(text, now);
}

/** For a field to write in: `2026-11-18T11:06:40`, by the local clock. */
export function inputText(at: number): string {
  if (!Number.isFinite(at)) return "";
  const zone = new Date(at).getTimezoneOffset() * 60_000;
  return new Date(at - zone).toISOString().slice(0, 19);
}
