/**
 * The fleet as columns: a slot a device, a typed array a figure. A tick of a thousand devices writes
 * numbers in place; there is no object a device and tick, and nothing that anybody observes. Who
 * shows a slot remembers the version that it has shown.
 */
import { deviceLook, delivers } from "../format/state";
import { freshAt, type Skew } from "../live/skew";
import type { DeviceState, FleetDevice, FleetEntry, FleetFigure } from "../live/types";
import { level } from "../format/level";
import { Sparks } from "./sparks";

/** Figures of a reading, in the units of a sample. NaN stands for what the host cannot give. */
export const FIGURES = [
  "cpu",
  "memory",
  "disk",
  "temperature",
  "networkIn",
  "networkOut",
] as const satisfies readonly FleetFigure[];

/** One reading on its way into the columns. Callers keep one and fill it again and again. */
export type Reading = Record<FleetFigure, number> & {
  state: DeviceState;
  /** Epoch milliseconds by the hub's clock. */
  sampledAt: number;
};

/** The longest period that a hub samples at, milliseconds. */
const LONGEST_MS = 60_000;
/**
 * Two instants nearer than this are one reading, milliseconds: binary frames tell time in steps of
 * 10 ms, JSON in milliseconds.
 */
const SAME_MS = 20;
/**
 * Who comes anew gets a key frame that may be half a minute old, after the newest state. A reading
 * older than that is none of those: the hub's clock was set back.
 */
const OLD_MS = 60_000;

export function emptyReading(): Reading {
  const figures = Object.fromEntries(FIGURES.map((name) => [name, NaN]));
  return { ...(figures as Record<FleetFigure, number>), state: "online", sampledAt: NaN };
}

export class FleetColumns {
  /** The last minute of CPU, by slot. */
  readonly sparks = new Sparks();
  /** Grows when a device comes, goes, or is no longer called what it was. */
  roster = 0;
  /** Grows when any device's state, name, tags or containers change. */
  changes = 0;

  /** What a slot is called; undefined where no device has it. */
  readonly uuids: (string | undefined)[] = [];
  readonly names: string[] = [];
  readonly tags: string[][] = [];
  readonly states: DeviceState[] = [];

  #slots = new Map<number, number>();
  #free: number[] = [];
  #capacity = 0;
  #ids = new Float64Array(0);
  #figures = Object.fromEntries(FIGURES.map((name) => [name, new Float64Array(0)])) as Record<
    FleetFigure,
    Float64Array<ArrayBuffer>
  >;
  #sampledAt = new Float64Array(0);
  #freshAt = new Float64Array(0);
  #period = new Float64Array(0);
  #versions = new Float64Array(0);
  #running = new Uint32Array(0);
  #total = new Uint32Array(0);
  #unhealthy = new Uint32Array(0);
  /** What a filter searches, made when first asked for. */
  #words: (string | undefined)[] = [];

  /** How many devices there are. */
  get size(): number {
    return this.#slots.size;
  }

  /** The slots in use. */
  slots(): IterableIterator<number> {
    return this.#slots.values();
  }

  slotOf(id: number): number | undefined {
    return this.#slots.get(id);
  }

  idOf(slot: number): number {
    return this.#ids[slot] ?? NaN;
  }

  /** A figure, or undefined where there is none. */
  figure(slot: number, name: FleetFigure): number | undefined {
    const value = this.#figures[name][slot] ?? NaN;
    return Number.isNaN(value) ? undefined : value;
  }

  /** When the newest reading was taken, epoch milliseconds by the hub's clock; NaN for never. */
  sampledAt(slot: number): number {
    return this.#sampledAt[slot] ?? NaN;
  }

  /** When the numbers were fresh, epoch milliseconds by the local clock; undefined for never. */
  freshAt(slot: number): number | undefined {
    const at = this.#freshAt[slot] ?? NaN;
    return Number.isNaN(at) ? undefined : at;
  }

  /** Milliseconds between the last two readings that came in their turn. */
  period(slot: number): number {
    return this.#period[slot] ?? 1_000;
  }

  /** Grows whenever anything of this slot changes. */
  version(slot: number): number {
    return this.#versions[slot] ?? 0;
  }

  running(slot: number): number {
    return this.#running[slot] ?? 0;
  }

  total(slot: number): number {
    return this.#total[slot] ?? 0;
  }

  unhealthy(slot: number): number {
    return this.#unhealthy[slot] ?? 0;
  }

  /** How bad a device is off; 0 is well. */
  trouble(slot: number): number {
    const levels = [
      level("memory", this.figure(slot, "memory")),
      level("disk", this.figure(slot, "disk")),
      level("temperature", this.figure(slot, "temperature")),
    ];
    const worst = levels.includes("bad") ? 3 : levels.includes("warn") ? 1 : 0;
    const { weight } = deviceLook(this.states[slot] ?? "online");
    return Math.max(weight, this.unhealthy(slot) > 0 ? 4 : 0, worst);
  }

  /** What a filter searches: name, tags, state, and the summary's words for trouble. */
  words(slot: number): string {
    const known = this.#words[slot];
    if (known !== undefined) return known;
    const state = this.states[slot] ?? "online";
    const { label, weight } = deviceLook(state);
    const said = [this.names[slot] ?? "", ...(this.tags[slot] ?? []), state, label];
    if (weight >= deviceLook("unreachable").weight) said.push("unreachable");
    if (this.unhealthy(slot) > 0) said.push("unhealthy");
    return (this.#words[slot] = said.join("\n").toLowerCase());
  }

  /** Everything there is now: who is not in it is gone. */
  snapshot(entries: readonly FleetDevice[], now: number, skew: Skew): void {
    const there = new Set(entries.map(({ id }) => id));
    for (const [id, slot] of [...this.#slots]) if (!there.has(id)) this.#remove(id, slot);
    const reading = emptyReading();
    for (const entry of entries) {
      const slot = this.entry(entry);
      if (entry.sampledAt === undefined) continue;
      for (const name of FIGURES) reading[name] = entry[name] ?? NaN;
      reading.sampledAt = Date.parse(entry.sampledAt);
      reading.state = entry.state;
      this.#take(slot, reading, now, skew, false);
    }
  }

  /** A device is new, or something but its figures changed. Gives its slot. */
  entry(entry: FleetEntry): number {
    let slot = this.#slots.get(entry.id);
    if (slot === undefined) slot = this.#add(entry.id);
    const { containers } = entry;
    if (this.names[slot] !== entry.name || this.uuids[slot] !== entry.deviceUuid) this.roster += 1;
    this.uuids[slot] = entry.deviceUuid;
    this.names[slot] = entry.name;
    this.tags[slot] = entry.tags;
    this.states[slot] = entry.state;
    this.#running[slot] = containers.running;
    this.#total[slot] = containers.total;
    this.#unhealthy[slot] = containers.unhealthy;
    this.#changed(slot);
    return slot;
  }

  /** A device was taken out. */
  gone(id: number): void {
    const slot = this.#slots.get(id);
    if (slot !== undefined) this.#remove(id, slot);
  }

  /** A reading came in its turn. One that is known already, or older, changes nothing. */
  reading(slot: number, reading: Reading, now: number, skew: Skew): void {
    this.#take(slot, reading, now, skew, true);
  }

  #take(slot: number, reading: Reading, now: number, skew: Skew, inTurn: boolean): void {
    const { sampledAt, state } = reading;
    if (!Number.isFinite(sampledAt)) return;
    const between = sampledAt - this.sampledAt(slot);
    if (between < SAME_MS && between > -OLD_MS) return;
    // How many were missed before a snapshot is not known, so it says nothing of the pace.
    if (inTurn && between > 0) this.#period[slot] = Math.min(between, LONGEST_MS);
    this.#sampledAt[slot] = sampledAt;
    this.#freshAt[slot] = freshAt(sampledAt, delivers(state), now, skew) ?? NaN;
    for (const name of FIGURES) this.#figures[name][slot] = reading[name];
    this.sparks.push(slot, sampledAt, reading.cpu);
    if (this.states[slot] !== state) {
      this.states[slot] = state;
      this.#changed(slot);
    } else {
      this.#touch(slot);
    }
  }

  #touch(slot: number): void {
    this.#versions[slot] = this.version(slot) + 1;
  }

  #changed(slot: number): void {
    this.#words[slot] = undefined;
    this.changes += 1;
    this.#touch(slot);
  }

  #add(id: number): number {
    const slot = this.#free.pop() ?? this.uuids.length;
    if (slot >= this.#capacity) this.#grow(Math.max(64, this.#capacity * 2));
    this.#slots.set(id, slot);
    this.#ids[slot] = id;
    for (const name of FIGURES) this.#figures[name][slot] = NaN;
    this.#sampledAt[slot] = NaN;
    this.#freshAt[slot] = NaN;
    this.#period[slot] = 1_000;
    return slot;
  }

  #remove(id: number, slot: number): void {
    this.#slots.delete(id);
    this.#free.push(slot);
    this.uuids[slot] = undefined;
    this.sparks.clear(slot);
    this.roster += 1;
    this.#changed(slot);
  }

  #grow(capacity: number): void {
    const grown = (old: Float64Array<ArrayBuffer>) => {
      const array = new Float64Array(capacity);
      array.set(old);
      return array;
    };
    const counted = (old: Uint32Array<ArrayBuffer>) => {
      const array = new Uint32Array(capacity);
      array.set(old);
      return array;
    };
    for (const name of FIGURES) this.#figures[name] = grown(this.#figures[name]);
    this.#ids = grown(this.#ids);
    this.#sampledAt = grown(this.#sampledAt);
    this.#freshAt = grown(this.#freshAt);
    this.#period = grown(this.#period);
    this.#versions = grown(this.#versions);
    this.#running = counted(this.#running);
    this.#total = counted(this.#total);
    this.#unhealthy = counted(this.#unhealthy);
    this.#capacity = capacity;
  }
}
