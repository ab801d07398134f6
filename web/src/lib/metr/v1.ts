import { newColumns, type Columns } from "./columns";
import { MetrError } from "./error";

const MAGIC = 0x4d455452;
const HEADER = 12;
const RECORD = 20;
const NO_PERCENT = 0xffff;
const NO_TEMPERATURE = -32768;

/** A frame of version 1. */
export interface FrameV1 {
  /** When it was made, in milliseconds since the epoch. */
  readonly timestamp: number;
  readonly size: number;
  /**
   * The devices, in the order of the frame. The format says nothing of states and bytes sent:
   * these are 0 and NaN; `sampledAt` is the frame's time.
   */
  readonly columns: Columns;
}

/**
 * Reads a frame of version 1. `now` is the reader's own clock, by which the frame's 32 bits of
 * time are completed: to the nearest instant.
 *
 * Throws a {@link MetrError}. An id beyond 2^53 is not a number here, and OutOfRange.
 */
export function decodeV1(bytes: Uint8Array, now: number): FrameV1 {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (bytes.length >= 4 && view.getUint32(0, true) !== MAGIC) {
    throw new MetrError("BadMagic", "not METR version 1: it begins with other bytes");
  }
  if (bytes.length < HEADER) {
    throw new MetrError(
      "TooShort",
      `METR of ${bytes.length} bytes: the header alone has ${HEADER}`,
    );
  }
  const size = view.getUint32(4, true);
  const need = HEADER + size * RECORD;
  if (bytes.length !== need) {
    throw new MetrError(
      "LengthMismatch",
      `METR of ${size} records has ${need} bytes, here are ${bytes.length}`,
    );
  }
  // The difference of two clocks modulo 2^32, as a number with a sign.
  const clock = Math.floor(now);
  const timestamp = clock + ((view.getUint32(8, true) - clock) | 0);

  const columns = newColumns(size);
  columns.sampledAt.fill(timestamp);
  columns.networkOut.fill(NaN);
  const percent = (at: number): number => {
    const hundredths = view.getUint16(at, true);
    return hundredths === NO_PERCENT ? NaN : hundredths / 100;
  };
  for (let place = 0, at = HEADER; place < size; place++, at += RECORD) {
    const id = view.getUint32(at, true) + view.getUint32(at + 4, true) * 2 ** 32;
    if (!Number.isSafeInteger(id)) {
      throw new MetrError("OutOfRange", `METR record ${place}: the id is beyond 2^53`);
    }
    columns.id[place] = id;
    columns.cpu[place] = percent(at + 8);
    columns.memory[place] = percent(at + 10);
    columns.disk[place] = percent(at + 12);
    const tenths = view.getInt16(at + 14, true);
    columns.temperature[place] = tenths === NO_TEMPERATURE ? NaN : tenths / 10;
    columns.networkIn[place] = view.getUint32(at + 16, true);
  }
  return { timestamp, size, columns };
}
