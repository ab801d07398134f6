import { Bits } from "./bits";
import { newColumns, STATES, type Columns } from "./columns";
import { MetrError } from "./error";

const MAGIC = 0x4d455452; // "METR" as text: the first byte is the highest
const VERSION = 2;
const FLAG_DELTA = 1;
const HEADER = 28;
/** The fewest bits that a record has. */
const LEAST_BITS = 3;
const STEP_MS = 10;
const AGE_MAX = 0xffffffff;
const LATEST_MS = 253_402_300_799_999;
const EARLIEST_MS = -62_167_219_200_000;

const FIELDS = 6;
const ALL_PRESENT = (1 << FIELDS) - 1;
const NAMES = ["cpu", "memory", "disk", "temperature", "network in", "network out"];
const RATE_MAX = (57 << 7) + 127;
const LEAST = [0, 0, 0, -32767, 0, 0];
const GREATEST = [65534, 65534, 65534, 32767, RATE_MAX, RATE_MAX];

/** What a frame brought; the values are in {@link Reader.columns}. */
export interface Frame {
  /** When it was made, in milliseconds since the epoch. */
  readonly timestamp: number;
  /** Whether it is a key frame, which has all devices of the stream. */
  readonly isKey: boolean;
  /**
   * The places that have a new reading, rising. Valid until the next `apply`. A device that is not
   * among them was not read: its values stand, and its `sampledAt` grows old.
   */
  readonly changed: Uint32Array;
  /**
   * Grows when devices came or left: then `reader.columns` is another object, and each place may
   * be another device's. While it stays the same, so do the places.
   */
  readonly membership: number;
}

/**
 * Reads a stream of METR version 2, one frame after another, into columns.
 *
 * ```ts
 * const reader = new Reader();
 * socket.on("metrics", (bytes: ArrayBuffer) => {
 *   const { changed } = reader.apply(new Uint8Array(bytes));
 *   const { id, cpu } = reader.columns;
 *   for (const place of changed) console.log(id[place], cpu[place]);
 * });
 * ```
 *
 * No object is made for a device or a frame's values: arrays are made when devices come or leave,
 * and written over otherwise. `apply` throws a {@link MetrError} and then leaves all as it was:
 * `NeedsKeyFrame` for a delta whose key frame did not come (wait for the next key frame, at most
 * 30 s), any other code for bytes that are no frame. Use one reader for one subscription, and a
 * new one, or {@link reset}, for the next.
 */
export class Reader {
  /** The newest reading of each device. Read only. */
  columns: Columns = newColumns(0);

  private members = 0;
  private keyNumber: number | undefined;
  /** The key frame's rows: what deltas are added to. */
  private key = new Rows(0);
  /** The rows of the frame that is being read: they count only once all of it is understood. */
  private incoming = new Rows(0);
  private readonly bits = new Bits();
  private readonly parameters = new Uint8Array(2 + FIELDS);

  /** A reader of at most so many devices. */
  constructor(private readonly maxDevices = 100_000) {}

  /** How many devices the stream has. */
  get size(): number {
    return this.columns.id.length;
  }

  /** Forgets the key frame and all devices. */
  reset(): void {
    this.keyNumber = undefined;
    if (this.size > 0) this.members++;
    this.columns = newColumns(0);
  }

  /** Reads the next frame. */
  apply(bytes: Uint8Array): Frame {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    if (bytes.length >= 4 && view.getUint32(0) !== MAGIC) {
      throw new MetrError("BadMagic", "not METR version 2: it begins with other bytes");
    }
    if (bytes.length > 4 && bytes[4] !== VERSION) {
      throw new MetrError("UnsupportedVersion", `METR version ${bytes[4]} is not known here`);
    }
    if (bytes.length < HEADER) {
      throw new MetrError(
        "TooShort",
        `METR of ${bytes.length} bytes: the header alone has ${HEADER}`,
      );
    }
    const flags = bytes[5]!;
    const unknown = (flags & ~FLAG_DELTA) | bytes[6]! | bytes[7]!;
    if (unknown !== 0) {
      throw new MetrError("UnsupportedFlags", `METR flags ${unknown} are not known here`);
    }
    const timestamp = Number(view.getBigInt64(8, true));
    if (timestamp > LATEST_MS || timestamp < EARLIEST_MS) {
      throw new MetrError("BadTimestamp", `METR timestamp ${timestamp} ms is out of range`);
    }
    const number = view.getUint32(16, true);
    const records = view.getUint32(20, true);
    const need = HEADER + Math.ceil((records * LEAST_BITS) / 8);
    if (need > bytes.length) {
      throw new MetrError(
        "LengthMismatch",
        `METR of ${records} records has ${need} bytes at least, here are ${bytes.length}`,
      );
    }
    if (records > this.maxDevices) {
      throw new MetrError(
        "TooManyRecords",
        `METR of ${records} records; this reader takes ${this.maxDevices}`,
      );
    }
    for (let pair = 0; pair < 4; pair++) {
      const byte = bytes[24 + pair]!;
      this.parameters[2 * pair] = byte & 15;
      this.parameters[2 * pair + 1] = byte >>> 4;
    }
    this.bits.load(bytes, HEADER);

    if ((flags & FLAG_DELTA) === 0) return this.applyKey(timestamp, number, records);
    if (this.keyNumber !== number) {
      throw new MetrError(
        "NeedsKeyFrame",
        `METR delta against key frame ${number}: the reader has ${this.keyNumber ?? "none"}`,
      );
    }
    return this.applyDelta(timestamp, records);
  }

  private applyKey(timestamp: number, number: number, records: number): Frame {
    const now = Math.floor(timestamp / STEP_MS);
    const rows = this.incoming;
    rows.ensure(records);
    let id = -1;
    for (let record = 0; record < records; record++) {
      id += this.bits.rice(this.parameters[0]!) + 1;
      // An id beyond 2^53 is not a number here.
      if (id > Number.MAX_SAFE_INTEGER) this.fail(record, "id");
      rows.id[record] = id;
      rows.place[record] = record;
      if (record === 0) this.readRow(record, 0, 0, ALL_PRESENT, ORIGIN, 0);
      else {
        const base = record - 1;
        this.readRow(
          record,
          rows.age[base]!,
          rows.state[base]!,
          rows.present[base]!,
          rows.values,
          base * FIELDS,
        );
      }
    }
    this.checkEnd();

    // All of it is good: what was the key becomes the room for the next.
    this.incoming = this.key;
    this.key = rows;
    this.keyNumber = number;
    if (!this.sameDevices(rows, records)) {
      this.members++;
      this.columns = newColumns(records);
      this.columns.id.set(rows.id.subarray(0, records));
    }
    return this.show(rows, timestamp, now, records, true);
  }

  private applyDelta(timestamp: number, records: number): Frame {
    const now = Math.floor(timestamp / STEP_MS);
    const rows = this.incoming;
    const key = this.key;
    const size = this.size;
    rows.ensure(records);
    let place = -1;
    for (let record = 0; record < records; record++) {
      place += this.bits.rice(this.parameters[0]!) + 1;
      if (place >= size) this.fail(record, "place in the key frame");
      rows.place[record] = place;
      this.readRow(
        record,
        key.age[place]!,
        key.state[place]!,
        key.present[place]!,
        key.values,
        place * FIELDS,
      );
    }
    this.checkEnd();
    return this.show(rows, timestamp, now, records, false);
  }

  /** Reads what follows the gap into `incoming`, as differences to the values at `from`. */
  private readRow(
    record: number,
    age: number,
    state: number,
    present: number,
    base: Int32Array,
    from: number,
  ): void {
    const { bits, parameters, incoming } = this;
    if (bits.flag()) {
      state = bits.take(3);
      if (state >= STATES.length) this.fail(record, "state");
      present = bits.take(FIELDS);
    }
    age += bits.difference(parameters[1]!);
    if (age < 0 || age > AGE_MAX) this.fail(record, "age");
    const to = record * FIELDS;
    for (let field = 0; field < FIELDS; field++) {
      let value = base[from + field]!;
      if ((present >>> field) & 1) {
        value += bits.difference(parameters[2 + field]!);
        if (value < LEAST[field]! || value > GREATEST[field]!) this.fail(record, NAMES[field]!);
      }
      incoming.values[to + field] = value;
    }
    if (bits.isOver) this.fail(record, "");
    incoming.age[record] = age;
    incoming.state[record] = state;
    incoming.present[record] = present;
  }

  private fail(record: number, field: string): never {
    // Zeros from beyond the end may have made the value.
    if (this.bits.isOver) throw new MetrError("Truncated", `METR ends within record ${record}`);
    throw new MetrError("OutOfRange", `METR record ${record}: ${field} is out of range`);
  }

  private checkEnd(): void {
    const left = this.bits.left;
    if (left >= 8 || (left > 0 && this.bits.take(left) !== 0)) {
      throw new MetrError("TrailingBytes", `METR has ${left} bits after its last record`);
    }
  }

  private sameDevices(rows: Rows, size: number): boolean {
    const { id } = this.columns;
    if (id.length !== size) return false;
    for (let place = 0; place < size; place++) if (id[place] !== rows.id[place]) return false;
    return true;
  }

  /** Writes the rows that were read into the columns. */
  private show(rows: Rows, timestamp: number, now: number, count: number, isKey: boolean): Frame {
    const columns = this.columns;
    for (let row = 0; row < count; row++) {
      const place = rows.place[row]!;
      const present = rows.present[row]!;
      const from = row * FIELDS;
      const values = rows.values;
      columns.sampledAt[place] = (now - rows.age[row]!) * STEP_MS;
      columns.state[place] = rows.state[row]!;
      columns.cpu[place] = present & 1 ? values[from]! / 100 : NaN;
      columns.memory[place] = present & 2 ? values[from + 1]! / 100 : NaN;
      columns.disk[place] = present & 4 ? values[from + 2]! / 100 : NaN;
      columns.temperature[place] = present & 8 ? values[from + 3]! / 10 : NaN;
      columns.networkIn[place] = present & 16 ? rate(values[from + 4]!) : NaN;
      columns.networkOut[place] = present & 32 ? rate(values[from + 5]!) : NaN;
    }
    const changed = rows.place.subarray(0, count);
    return { timestamp, isKey, changed, membership: this.members };
  }
}

/** Rows in whole numbers, one array for each column. */
class Rows {
  id!: Float64Array;
  place!: Uint32Array;
  age!: Float64Array;
  state!: Uint8Array;
  present!: Uint8Array;
  values!: Int32Array;

  constructor(size: number) {
    this.make(size);
  }

  /** Makes room for so many rows; what was in it is lost if there is too little. */
  ensure(size: number): void {
    if (this.place.length < size) this.make(size);
  }

  private make(size: number): void {
    this.id = new Float64Array(size);
    this.place = new Uint32Array(size);
    this.age = new Float64Array(size);
    this.state = new Uint8Array(size);
    this.present = new Uint8Array(size);
    this.values = new Int32Array(size * FIELDS);
  }
}

const ORIGIN = new Int32Array(FIELDS);

/** 2^0 to 2^56. */
const POWERS = Float64Array.from({ length: 57 }, (_, exponent) => 2 ** exponent);

/** A rate from its code: whole below 128, else seven bits of fraction and an exponent. */
function rate(code: number): number {
  return code < 128 ? code : (128 + (code & 127)) * POWERS[(code >>> 7) - 1]!;
}
