/**
 * The lines of a log that this tab holds: the newest, up to a number of lines and of characters.
 * Numbers lie in typed arrays, each text is kept once, as it came. A line keeps its position, which
 * counts from 0, for as long as it is held.
 */
import type { FieldValue, LogLine, LogMarker, LogOutput } from "../live/types";
import { LEVELS, type LevelNumber } from "./levels";

/** The most lines; older ones are let go. */
export const MOST_LINES = 1_000_000;
/** The most characters of text, whichever limit is reached first. */
export const MOST_CHARS = 100_000_000;

const FIRST_CAPACITY = 4_096;
/** Of the longest ring: a power of two, so that a slot is a mask away. */
const LAST_CAPACITY = 2 ** 20;

/** Where positions of a log begin that older lines are put before, so that none is negative. */
export const BASE = 2 ** 40;

/** An entry that the container did not write. */
export type Special =
  | { kind: "marker"; marker: LogMarker }
  | { kind: "gap"; from: number; to: number; dropped: number }
  /** The numbering of the hub began anew. */
  | { kind: "anew" };

/** Bits of `#kind`: the level, and where it was written. */
const STDERR = 8;

export class LogRing {
  /** The position of the oldest line that is held. */
  first: number;
  /** The position after the newest. */
  end: number;
  /** Characters of text held. */
  chars = 0;

  #mask = FIRST_CAPACITY - 1;
  #at = new Float64Array(FIRST_CAPACITY);
  #seq = new Float64Array(FIRST_CAPACITY);
  #kind = new Uint8Array(FIRST_CAPACITY);
  #head = new Uint32Array(FIRST_CAPACITY);
  #size = new Uint32Array(FIRST_CAPACITY);
  #of = new Uint16Array(FIRST_CAPACITY);
  #message: string[] = [];
  #raw: (string | undefined)[] = [];
  #fields: (Record<string, FieldValue> | undefined)[] = [];
  #special = new Map<number, Special>();
  #cut = new Map<number, number>();
  /** Where each numbering begins, oldest first. */
  #epochs: { from: number; epoch: string }[] = [];

  /** Other limits than the usual ones are for tests. */
  constructor(
    private readonly mostLines = MOST_LINES,
    private readonly mostChars = MOST_CHARS,
    base = 0,
  ) {
    this.first = this.end = base;
  }

  get length(): number {
    return this.end - this.first;
  }

  /** The numbering of the newest lines. */
  get epoch(): string | undefined {
    return this.#epochs.at(-1)?.epoch;
  }

  /** What comes from now on is numbered in this epoch. */
  begin(epoch: string): void {
    if (epoch !== this.epoch) this.#epochs.push({ from: this.end, epoch });
  }

  /** `of` tells whose line it is where the log is of several. */
  push(line: LogLine, at: number, of = 0): void {
    this.#write(line, at, true, of);
    this.#trim();
  }

  /**
   * Puts older lines, the oldest first, before those that are held: the newest of them, as many as
   * there is room for. Gives how many.
   */
  prepend<L extends LogLine>(
    lines: readonly L[],
    at: (line: L) => number,
    epoch: string,
    of: (line: L) => number = () => 0,
  ): number {
    let taken = 0;
    for (let i = lines.length - 1; i >= 0; i -= 1, taken += 1) {
      const line = lines[i];
      if (!line || this.length >= this.mostLines || this.chars >= this.mostChars) break;
      this.#write(line, at(line), false, of(line));
    }
    if (taken === 0) return 0;
    const [oldest] = this.#epochs;
    if (oldest?.epoch === epoch) oldest.from = this.first;
    else this.#epochs.unshift({ from: this.first, epoch });
    return taken;
  }

  #write(line: LogLine, at: number, newest: boolean, of: number): void {
    const { message, raw, fields } = line;
    let size = message.length + (raw?.length ?? 0);
    if (fields) {
      // The names are the same in each line and kept once; a value is a text or a number.
      for (const name in fields) {
        const value = fields[name];
        size += 8 + (typeof value === "string" ? value.length : 0);
      }
    }
    const level = line.level ? LEVELS.indexOf(line.level) + 1 : 0;
    const kind = level | (line.stream === "stderr" ? STDERR : 0);
    const slot = this.#place(line.seq, at, kind, size, of, newest);
    this.#message[slot] = message;
    this.#raw[slot] = raw;
    this.#fields[slot] = fields;
    const end = message.indexOf("\n");
    this.#head[slot] = end < 0 ? message.length : end;
    const position = newest ? this.end - 1 : this.first;
    if (line.marker) this.#special.set(position, { kind: "marker", marker: line.marker });
    if (line.cut) this.#cut.set(position, line.cut);
  }

  /** Adds an entry of our own, with what it says. */
  pushSpecial(special: Special, message: string, seq: number, at: number, of = 0): void {
    const slot = this.#place(seq, at, 0, message.length, of);
    this.#message[slot] = message;
    this.#raw[slot] = this.#fields[slot] = undefined;
    this.#head[slot] = message.length;
    this.#special.set(this.end - 1, special);
    this.#trim();
  }

  /** Lets all lines go; positions go on. */
  clear(): void {
    this.first = this.end;
    this.chars = 0;
    this.#message = [];
    this.#raw = [];
    this.#fields = [];
    this.#special.clear();
    this.#cut.clear();
    this.#epochs = [];
  }

  has(position: number): boolean {
    return position >= this.first && position < this.end;
  }

  /** When it was written, epoch milliseconds, to the microsecond. */
  at(position: number): number {
    return this.#at[position & this.#mask] ?? NaN;
  }

  seq(position: number): number {
    return this.#seq[position & this.#mask] ?? 0;
  }

  /** Whose line it is, where the log is of several. */
  of(position: number): number {
    return this.#of[position & this.#mask] ?? 0;
  }

  /** From 1, trace, to 6, fatal; 0 where the line does not say. */
  level(position: number): LevelNumber {
    return ((this.#kind[position & this.#mask] ?? 0) & 7) as LevelNumber;
  }

  stream(position: number): LogOutput {
    return (this.#kind[position & this.#mask] ?? 0) & STDERR ? "stderr" : "stdout";
  }

  message(position: number): string {
    return this.#message[position & this.#mask] ?? "";
  }

  /** The line as it came, where that differs from the message. */
  raw(position: number): string | undefined {
    return this.#raw[position & this.#mask];
  }

  fields(position: number): Record<string, FieldValue> | undefined {
    return this.#fields[position & this.#mask];
  }

  /** The length of the message's first line, characters. */
  head(position: number): number {
    return this.#head[position & this.#mask] ?? 0;
  }

  special(position: number): Special | undefined {
    return this.#special.get(position);
  }

  /** Bytes that the hub left off at the end. */
  cut(position: number): number | undefined {
    return this.#cut.get(position);
  }

  epochOf(position: number): string | undefined {
    return this.#epochs.findLast(({ from }) => from <= position)?.epoch;
  }

  /** The position of a line, if it is held. */
  find(epoch: string, seq: number): number | undefined {
    for (let i = this.#epochs.length - 1; i >= 0; i -= 1) {
      const part = this.#epochs[i];
      if (part?.epoch !== epoch) continue;
      const end = this.#epochs[i + 1]?.from ?? this.end;
      const position = this.#search(Math.max(part.from, this.first), end, seq, this.#seq);
      // A gap has the number of the first line that it stands for.
      if (position < end && this.seq(position) === seq) return position;
    }
    return undefined;
  }

  /** The first line written at an instant or after it; `end` where there is none. */
  atTime(at: number): number {
    return this.#search(this.first, this.end, at, this.#at);
  }

  /** The first of the positions from `from` to `to` whose value is not below; values rise. */
  #search(from: number, to: number, value: number, values: Float64Array): number {
    let [low, high] = [from, to];
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if ((values[middle & this.#mask] ?? 0) < value) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Makes a place at the end, or before the oldest line. */
  #place(seq: number, at: number, kind: number, size: number, of: number, newest = true): number {
    if (this.length > this.#mask) this.#grow();
    const position = newest ? this.end : this.first - 1;
    const slot = position & this.#mask;
    this.#at[slot] = at;
    this.#seq[slot] = seq;
    this.#kind[slot] = kind;
    this.#size[slot] = size;
    this.#of[slot] = of;
    if (newest) this.end += 1;
    else this.first -= 1;
    this.chars += size;
    return slot;
  }

  #trim(): void {
    while (this.length > 1 && (this.length > this.mostLines || this.chars > this.mostChars)) {
      const slot = this.first & this.#mask;
      this.chars -= this.#size[slot] ?? 0;
      this.#message[slot] = "";
      this.#raw[slot] = this.#fields[slot] = undefined;
      if (this.#special.size > 0) this.#special.delete(this.first);
      if (this.#cut.size > 0) this.#cut.delete(this.first);
      this.first += 1;
    }
    while ((this.#epochs[1]?.from ?? Infinity) <= this.first) this.#epochs.shift();
  }

  #grow(): void {
    const before = this.#mask + 1;
    const after = Math.min(before * 2, LAST_CAPACITY);
    if (after === before) throw new RangeError("more lines than the longest ring has room for");
    const move = <A extends Float64Array | Uint8Array | Uint16Array | Uint32Array>(
      old: A,
      made: A,
    ): A => {
      for (let p = this.first; p < this.end; p += 1) {
        made[p & (after - 1)] = old[p & (before - 1)] ?? 0;
      }
      return made;
    };
    const moved = <T>(old: T[]): T[] => {
      const made = new Array<T>(after);
      for (let p = this.first; p < this.end; p += 1) {
        made[p & (after - 1)] = old[p & (before - 1)] as T;
      }
      return made;
    };
    this.#at = move(this.#at, new Float64Array(after));
    this.#seq = move(this.#seq, new Float64Array(after));
    this.#kind = move(this.#kind, new Uint8Array(after));
    this.#head = move(this.#head, new Uint32Array(after));
    this.#size = move(this.#size, new Uint32Array(after));
    this.#of = move(this.#of, new Uint16Array(after));
    this.#message = moved(this.#message);
    this.#raw = moved(this.#raw);
    this.#fields = moved(this.#fields);
    this.#mask = after - 1;
  }
}
