/** Which charts a device and a container have, top to bottom. */
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

export const DEVICE_SERIES = [
  "cpu",
  "iowait",
  "steal",
  "load1",
  "memory",
  "swap",
  "disk",
  "diskRead",
  "diskWrite",
  "temperature",
  "networkIn",
  "networkOut",
  "pressureCpu",
  "pressureMemory",
  "pressureIo",
] as const;

export type DeviceSeries = (typeof DEVICE_SERIES)[number];

export const DEVICE_PANELS: Panel<DeviceSeries>[] = [
  {
    id: "cpu",
    title: "CPU",
    kind: "percent",
    series: [
      { name: "cpu", label: "busy" },
      { name: "iowait", label: "I/O wait" },
      { name: "steal", label: "stolen" },
    ],
  },
  {
    id: "memory",
    title: "Memory",
    kind: "share",
    series: [
      { name: "memory", label: "used" },
      { name: "swap", label: "swap" },
    ],
  },
  {
    id: "pressure",
    title: "Pressure",
    kind: "percent",
    series: [
      { name: "pressureCpu", label: "CPU" },
      { name: "pressureMemory", label: "memory" },
      { name: "pressureIo", label: "I/O" },
    ],
  },
  {
    id: "disk",
    title: "Disk I/O",
    kind: "rate",
    series: [
      { name: "diskRead", label: "read" },
      { name: "diskWrite", label: "write" },
    ],
  },
  {
    id: "network",
    title: "Network",
    kind: "rate",
    series: [
      { name: "networkIn", label: "in" },
      { name: "networkOut", label: "out" },
    ],
  },
  { id: "load", title: "Load", kind: "load", series: [{ name: "load1", label: "1 min" }] },
  {
    id: "temperature",
    title: "Temperature",
    kind: "celsius",
    series: [{ name: "temperature", label: "CPU" }],
  },
];

export const CONTAINER_SERIES = [
  "cpu",
  "memory",
  "networkIn",
  "networkOut",
  "blockRead",
  "blockWrite",
] as const;

export type ContainerSeries = (typeof CONTAINER_SERIES)[number];

export const CONTAINER_PANELS: Panel<ContainerSeries>[] = [
  { id: "cpu", title: "CPU", kind: "core", series: [{ name: "cpu", label: "of one core" }] },
  { id: "memory", title: "Memory", kind: "bytes", series: [{ name: "memory", label: "used" }] },
  {
    id: "network",
    title: "Network",
    kind: "rate",
    series: [
      { name: "networkIn", label: "in" },
      { name: "networkOut", label: "out" },
    ],
  },
  {
    id: "block",
    title: "Block I/O",
    kind: "rate",
    series: [
      { name: "blockRead", label: "read" },
      { name: "blockWrite", label: "write" },
    ],
  },
];

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
