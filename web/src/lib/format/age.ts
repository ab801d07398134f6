/** Spans of time for people. */

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** How old a number is: "0.4 s", "12 s", "3 min", "2 h", "5 d". */
export function age(ms: number): string {
  const span = Math.max(0, ms);
  if (span < 9_950) return `${(span / SECOND).toFixed(1)} s`;
  if (span < MINUTE) return `${Math.max(10, Math.floor(span / SECOND))} s`;
  if (span < HOUR) return `${Math.floor(span / MINUTE)} min`;
  if (span < 2 * DAY) return `${Math.floor(span / HOUR)} h`;
  return `${Math.floor(span / DAY)} d`;
}

/** How long something has run, in its two largest units: "3 d 4 h", "12 min 5 s". */
export function duration(ms: number): string {
  const span = Math.max(0, ms);
  const parts: [number, string][] = [
    [DAY, "d"],
    [HOUR, "h"],
    [MINUTE, "min"],
    [SECOND, "s"],
  ];
  const first = parts.findIndex(([size]) => span >= size);
  if (first < 0) return "0 s";
  let rest = span;
  const words: string[] = [];
  for (const [size, unit] of parts.slice(first, first + 2)) {
    const n = Math.floor(rest / size);
    rest -= n * size;
    if (n > 0) words.push(`${n} ${unit}`);
  }
  return words.join(" ");
}

/** So many periods without news make a number stale. */
export const STALE_PERIODS = 3;

/** The shortest period that counts: the fastest rate of the hub, milliseconds. */
const SHORTEST = 1_000;

/** Whether news that come each `period` ms are overdue by `ms` of silence. */
export function isStale(ms: number, period: number): boolean {
  return ms >= STALE_PERIODS * Math.max(period, SHORTEST);
}

/** An instant by the local clock and calendar: "2026-11-18 11:06:40". */
export function moment(at: number | string): string {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return "–";
  const two = (n: number) => String(n).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  return `${day} ${clockTime(date.getTime())}`;
}

/** The time of day by the local clock: "11:06:40". */
export function clockTime(at: number): string {
  const date = new Date(at);
  return [date.getHours(), date.getMinutes(), date.getSeconds()]
    .map((n) => String(n).padStart(2, "0"))
    .join(":");
}
