/** How high a chart reaches: from 0 to a round number, in steps, so that it seldom changes. */

export type Kind =
  | "percent"
  | "share"
  | "bytes"
  | "rate"
  | "load"
  | "celsius"
  | "core"
  | "count"
  | "perSecond"
  | "latency";

const PERCENT = [5, 10, 25, 50, 100];

const STEPS = [1, 2, 2.5, 5, 10];
/** Of whole things, so that the half is whole, too. */
const WHOLE = [1, 2, 4, 6, 8, 10];

/** The least round number of a step times a power of `base`'s decimal that is not below. */
function round(value: number, unit: number, steps = STEPS): number {
  const power = 10 ** Math.floor(Math.log10(value / unit));
  const step = steps.find((n) => n * power * unit >= value) ?? 10;
  return step * power * unit;
}

/** The unit of 1024s that a size is told in. */
function binaryUnit(value: number): number {
  return 1024 ** Math.max(0, Math.floor(Math.log(Math.max(value, 1)) / Math.log(1024)));
}

/** The top of the axis for values up to `max`. */
export function top(kind: Kind, max: number | null): number {
  const value = max ?? 0;
  switch (kind) {
    case "share":
      return 100;
    case "percent":
      return PERCENT.find((step) => step >= value) ?? 100;
    case "core":
      return PERCENT.find((step) => step >= value) ?? Math.ceil(value / 100) * 100;
    case "celsius":
      return value <= 100 ? 100 : round(value, 1);
    case "count":
      return value <= 10 ? 10 : round(value, 1, WHOLE);
    case "perSecond":
      return value <= 1 ? 1 : round(value, 1);
    case "latency":
      return value <= 0.001 ? 0.001 : round(value, 0.001);
    case "load":
      return value <= 1 ? 1 : round(value, 1);
    case "rate":
      return value <= 1_000 ? 1_000 : round(value, 1);
    case "bytes":
      return value <= 1024 ** 2 ? 1024 ** 2 : round(value, binaryUnit(value));
  }
}
