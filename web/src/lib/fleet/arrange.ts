/** Which devices the fleet shows and in which order. */
import { deviceLook } from "../format/state";
import { level } from "../format/level";
import type { DeviceEntry } from "../live/types";

export const SORTS = [
  "name",
  "state",
  "cpu",
  "memory",
  "disk",
  "load",
  "temperature",
  "in",
  "out",
  "containers",
] as const;

export type Sort = (typeof SORTS)[number];

export interface Wish {
  /** Words that must all be found in name, tags or state; one that begins with `-` must not. */
  filter: string;
  sort: Sort;
  descending: boolean;
  /** Whether devices in trouble come first, the worst at the top. */
  trouble: boolean;
  byTag: boolean;
}

export type Item<R> =
  | { kind: "group"; key: string; tag: string; count: number; troubled: number }
  | { kind: "row"; key: string; row: R };

/** How bad a device is off; 0 is well. */
export function trouble(entry: DeviceEntry): number {
  const { sample, containers } = entry;
  const levels = [
    level("memory", sample?.memory),
    level("disk", sample?.disk),
    level("temperature", sample?.temperature),
  ];
  const worst = levels.includes("bad") ? 3 : levels.includes("warn") ? 1 : 0;
  return Math.max(deviceLook(entry.state).weight, containers.unhealthy > 0 ? 4 : 0, worst);
}

export function matches(entry: DeviceEntry, filter: string): boolean {
  const { label, weight } = deviceLook(entry.state);
  const said = [entry.name, ...entry.tags, entry.state, label];
  // The summary's words find what it counts.
  if (weight >= deviceLook("unreachable").weight) said.push("unreachable");
  if (entry.containers.unhealthy > 0) said.push("unhealthy");
  const text = said.join("\n").toLowerCase();
  return filter
    .toLowerCase()
    .split(/\s+/)
    .every((word) => {
      if (word === "" || word === "-") return true;
      return word.startsWith("-") ? !text.includes(word.slice(1)) : text.includes(word);
    });
}

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function figure(entry: DeviceEntry, sort: Sort): number | undefined {
  const { sample } = entry;
  switch (sort) {
    case "name":
      return undefined;
    case "state":
      return deviceLook(entry.state).weight;
    case "load":
      return sample?.load?.[0];
    case "in":
      return sample?.networkIn;
    case "out":
      return sample?.networkOut;
    case "containers":
      return entry.containers.total;
    default:
      return sample?.[sort];
  }
}

function compare(a: DeviceEntry, b: DeviceEntry, wish: Wish): number {
  if (wish.trouble) {
    const worse = trouble(b) - trouble(a);
    if (worse !== 0) return worse;
  }
  const direction = wish.descending ? -1 : 1;
  if (wish.sort !== "name") {
    const [x, y] = [figure(a, wish.sort), figure(b, wish.sort)];
    // Who has no such figure stands at the end, whichever way the rest is sorted.
    if (x === undefined || y === undefined) {
      if (x !== y) return x === undefined ? 1 : -1;
    } else if (x !== y) {
      return (x - y) * direction;
    }
    return names.compare(a.name, b.name) || a.id - b.id;
  }
  return names.compare(a.name, b.name) * direction || a.id - b.id;
}

/** The lines of the fleet: devices, and above each group its tag. */
export function arrange<R extends { entry: DeviceEntry }>(
  rows: readonly R[],
  wish: Wish,
): Item<R>[] {
  const shown = rows
    .filter((row) => matches(row.entry, wish.filter))
    .sort((a, b) => compare(a.entry, b.entry, wish));
  if (!wish.byTag) {
    return shown.map((row) => ({ kind: "row", key: row.entry.deviceUuid, row }));
  }
  const groups = new Map<string, R[]>();
  for (const row of shown) {
    for (const tag of row.entry.tags.length > 0 ? row.entry.tags : [""]) {
      const group = groups.get(tag);
      if (group) group.push(row);
      else groups.set(tag, [row]);
    }
  }
  const tags = [...groups.keys()].sort((a, b) => {
    // Devices without a tag come last.
    if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
    return names.compare(a, b);
  });
  return tags.flatMap((tag): Item<R>[] => {
    const members = groups.get(tag) ?? [];
    const troubled = members.filter((row) => trouble(row.entry) > 0).length;
    return [
      { kind: "group", key: `tag:${tag}`, tag, count: members.length, troubled },
      ...members.map((row): Item<R> => ({
        kind: "row",
        // A device stands in each of its tags' groups.
        key: `${tag}/${row.entry.deviceUuid}`,
        row,
      })),
    ];
  });
}
