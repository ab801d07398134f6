/** What a chart is: its figures, their kind, and how a value of it is written. */
import {
  bytes,
  celsius,
  count,
  latency,
  load,
  percent,
  perSecond,
  rate,
  type Quantity,
} from "../format/units";
import type { Kind } from "./scale";

export interface Series<Name extends string = string> {
  name: Name;
  label: string;
}

export interface Panel<Name extends string = string> {
  /** Names the chart in tests. */
  id: string;
  title: string;
  kind: Kind;
  series: Series<Name>[];
}

/** A chart of the series that `labels` names, in their order. */
export function panel<Name extends string>(
  id: string,
  title: string,
  kind: Kind,
  labels: Partial<Record<Name, string>>,
): Panel<Name> {
  const series = Object.entries<string | undefined>(labels).map(([name, label]) => ({
    name: name as Name,
    label: label ?? name,
  }));
  return { id, title, kind, series };
}

const FORMATS: Record<Kind, (value: number | null | undefined) => Quantity> = {
  percent,
  share: percent,
  core: percent,
  bytes,
  rate,
  load,
  celsius,
  count,
  perSecond,
  latency,
};

/** A value of a chart in words. */
export function quantity(kind: Kind, value: number | null | undefined): Quantity {
  return FORMATS[kind](value);
}
