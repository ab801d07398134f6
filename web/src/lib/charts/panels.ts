/** Which charts a device and a container have, top to bottom. */
import { panel, type Panel } from "./panel";

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
  panel("cpu", "CPU", "percent", { cpu: "busy", iowait: "I/O wait", steal: "stolen" }),
  panel("memory", "Memory", "share", { memory: "used", swap: "swap" }),
  panel("pressure", "Pressure", "percent", {
    pressureCpu: "CPU",
    pressureMemory: "memory",
    pressureIo: "I/O",
  }),
  panel("disk", "Disk I/O", "rate", { diskRead: "read", diskWrite: "write" }),
  panel("network", "Network", "rate", { networkIn: "in", networkOut: "out" }),
  panel("load", "Load", "load", { load1: "1 min" }),
  panel("temperature", "Temperature", "celsius", { temperature: "CPU" }),
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
  panel("cpu", "CPU", "core", { cpu: "of one core" }),
  panel("memory", "Memory", "bytes", { memory: "used" }),
  panel("network", "Network", "rate", { networkIn: "in", networkOut: "out" }),
  panel("block", "Block I/O", "rate", { blockRead: "read", blockWrite: "write" }),
];
