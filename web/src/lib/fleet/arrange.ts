/** Which devices the fleet shows and in which order. */
import { deviceLook } from "../format/state";
import type { FleetColumns } from "./columns";

export const SORTS = [
  "name",
  "state",
  "cpu",
  "memory",
  "disk",
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

export type Line =
  | { kind: "group"; key: string; tag: string; count: number; troubled: number }
  | { kind: "row"; key: string; slot: number; uuid: string };

/** Whether the order depends on figures, and so changes while one looks. */
export function moves(wish: Wish): boolean {
  return wish.trouble || wish.sort !== "name";
}

/** Tells whether a text in small letters has all words of a filter and none that it leaves out. */
export function matcher(filter: string): (text: string) => boolean {
  const words = filter
    .toLowerCase()
    .split(/\s+/)
    .filter((word) => word !== "" && word !== "-");
  return (text) =>
    words.every((word) =>
      word.startsWith("-") ? !text.includes(word.slice(1)) : text.includes(word),
    );
}

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

/** Each slot's place by name; comparing names is slow, and they seldom change. */
let ranks: { of: FleetColumns; roster: number; ranks: Float64Array } | undefined;

function ranksOf(columns: FleetColumns): Float64Array {
  if (ranks?.of !== columns || ranks.roster !== columns.roster) {
    const slots = [...columns.slots()].sort(
      (a, b) =>
        names.compare(columns.names[a] ?? "", columns.names[b] ?? "") ||
        columns.idOf(a) - columns.idOf(b),
    );
    ranks = { of: columns, roster: columns.roster, ranks: new Float64Array(columns.uuids.length) };
    for (const [rank, slot] of slots.entries()) ranks.ranks[slot] = rank;
  }
  return ranks.ranks;
}

/** What a column sorts by; NaN where a device has no such figure. */
function figure(columns: FleetColumns, slot: number, sort: Exclude<Sort, "name">): number {
  switch (sort) {
    case "state":
      return deviceLook(columns.states[slot] ?? "online").weight;
    case "in":
      return columns.figure(slot, "networkIn") ?? NaN;
    case "out":
      return columns.figure(slot, "networkOut") ?? NaN;
    case "containers":
      return columns.total(slot);
    default:
      return columns.figure(slot, sort) ?? NaN;
  }
}

/** The slots that are shown, in their order. */
function sorted(columns: FleetColumns, wish: Wish): number[] {
  const { sort, filter } = wish;
  const matches = matcher(filter);
  const slots = [...columns.slots()].filter((slot) => matches(columns.words(slot)));
  const rank = ranksOf(columns);
  const ranked = (slot: number) => rank[slot] ?? 0;
  const keys = new Float64Array(columns.uuids.length);
  const troubles = new Float64Array(columns.uuids.length);
  for (const slot of slots) {
    if (sort !== "name") keys[slot] = figure(columns, slot, sort);
    if (wish.trouble) troubles[slot] = columns.trouble(slot);
  }
  const direction = wish.descending ? -1 : 1;
  return slots.sort((a, b) => {
    const worse = (troubles[b] ?? 0) - (troubles[a] ?? 0);
    if (worse !== 0) return worse;
    if (sort === "name") return (ranked(a) - ranked(b)) * direction;
    const [x, y] = [keys[a] ?? NaN, keys[b] ?? NaN];
    if (Number.isNaN(x) || Number.isNaN(y)) {
      // Who has no such figure stands at the end, whichever way the rest is sorted.
      if (!Number.isNaN(x) || !Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    } else if (x !== y) {
      return (x - y) * direction;
    }
    return ranked(a) - ranked(b);
  });
}

/** The lines of the fleet: devices, and above each group its tag. */
export function arrange(columns: FleetColumns, wish: Wish): Line[] {
  const shown = sorted(columns, wish);
  const row = (slot: number, group = ""): Line => {
    const uuid = columns.uuids[slot] ?? "";
    // A device stands in each of its tags' groups.
    return { kind: "row", key: wish.byTag ? `${group}/${uuid}` : uuid, slot, uuid };
  };
  if (!wish.byTag) return shown.map((slot) => row(slot));
  const groups = new Map<string, number[]>();
  for (const slot of shown) {
    const tags = columns.tags[slot] ?? [];
    for (const tag of tags.length > 0 ? tags : [""]) {
      const group = groups.get(tag);
      if (group) group.push(slot);
      else groups.set(tag, [slot]);
    }
  }
  const tags = [...groups.keys()].sort((a, b) => {
    // Devices without a tag come last.
    if (a === "" || b === "") return a === b ? 0 : a === "" ? 1 : -1;
    return names.compare(a, b);
  });
  return tags.flatMap((tag): Line[] => {
    const members = groups.get(tag) ?? [];
    const troubled = members.filter((slot) => columns.trouble(slot) > 0).length;
    return [
      { kind: "group", key: `tag:${tag}`, tag, count: members.length, troubled },
      ...members.map((slot) => row(slot, tag)),
    ];
  });
}

/** The same lines without those whose device is gone. */
export function surviving(lines: Line[], columns: FleetColumns): Line[] {
  const there = (line: Line) => line.kind === "group" || columns.uuids[line.slot] === line.uuid;
  return lines.every(there) ? lines : lines.filter(there);
}
