/**
 * Numbers for people, each with its unit and with a fixed count of digits, so that columns of
 * tabular figures stand still. What is absent is a dash.
 */

/** Stands for a value that is not there. */
export const ABSENT = "–";

/** A number and its unit, apart: the unit is drawn fainter. */
export interface Quantity {
  value: string;
  unit: string;
}

const NOTHING: Quantity = { value: ABSENT, unit: "" };

type Maybe = number | null | undefined;

function known(value: Maybe): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** Percent: one decimal below 10, none above. */
export function percent(value: Maybe): Quantity {
  if (!known(value)) return NOTHING;
  return { value: value < 9.95 ? value.toFixed(1) : value.toFixed(0), unit: "%" };
}

const BINARY = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
const DECIMAL = ["B", "kB", "MB", "GB", "TB", "PB", "EB"];

function scaled(value: number, step: number, units: string[]): Quantity {
  let size = Math.abs(value);
  let index = 0;
  // 999.5 would round to "1000", which is a digit too many.
  while (size >= 999.5 && index < units.length - 1) {
    size /= step;
    index += 1;
  }
  const digits = index === 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
  const sign = value < 0 ? "−" : "";
  return { value: sign + size.toFixed(digits), unit: units[index] ?? "" };
}

/** A size in memory or on a disk: powers of 1024. */
export function bytes(value: Maybe): Quantity {
  return known(value) ? scaled(value, 1024, BINARY) : NOTHING;
}

/** Bytes per second: powers of 1000, as links are sold. */
export function rate(value: Maybe): Quantity {
  if (!known(value)) return NOTHING;
  const { value: text, unit } = scaled(value, 1000, DECIMAL);
  return { value: text, unit: `${unit}/s` };
}

/** A temperature in °C. */
export function celsius(value: Maybe): Quantity {
  return known(value) ? { value: value.toFixed(0), unit: "°C" } : NOTHING;
}

/** A load average; it has no unit. */
export function load(value: Maybe): Quantity {
  if (!known(value)) return NOTHING;
  return { value: value >= 99.95 ? value.toFixed(0) : value.toFixed(2), unit: "" };
}

/** Times per second. */
export function perSecond(value: Maybe): Quantity {
  if (!known(value)) return NOTHING;
  const { value: text, unit } = scaled(value, 1000, ["", "k", "M", "G"]);
  const digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return { value: unit ? text : value.toFixed(digits), unit: `${unit}/s` };
}

/** How long something took, in seconds: "85 µs", "1.20 ms", "2.50 s". */
export function latency(value: Maybe): Quantity {
  return known(value) ? scaled(value * 1e6, 1000, ["µs", "ms", "s"]) : NOTHING;
}

/** A count, with commas between thousands. */
export function count(value: Maybe): Quantity {
  return known(value) ? { value: grouped(value), unit: "" } : NOTHING;
}

/** 1903 as "1,903". */
export function grouped(value: number): string {
  return Math.round(value).toLocaleString("en-US");
}

/** What a unit is of: units of one kind take one width. */
export function unitKind(unit: string): "" | "rate" | "times" | "size" {
  if (unit.endsWith("B/s")) return "rate";
  if (unit.endsWith("/s")) return "times";
  return unit.endsWith("B") ? "size" : "";
}

/** A quantity as one text: "12 %", "1.93 GiB". */
export function text({ value, unit }: Quantity): string {
  return unit ? `${value} ${unit}` : value;
}

/** "1 device", "2 devices". */
export function plural(n: number, one: string, many = `${one}s`): string {
  return `${grouped(n)} ${n === 1 ? one : many}`;
}
