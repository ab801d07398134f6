/** Makes METR frames of version 2 for tests, the plain way: every parameter is 8. */

export interface Row {
  /** Its id in a key frame, its place in the key frame in a delta. */
  at: number;
  /** Of the reading, steps of 10 ms. */
  age: number;
  /** CPU percent; undefined where there is none. The other figures are absent. */
  cpu?: number;
}

const PARAMETER = 8;

function coder() {
  const bits: number[] = [];
  const take = (value: number, count: number) => {
    for (let bit = 0; bit < count; bit += 1) bits.push(Math.floor(value / 2 ** bit) % 2);
  };
  const rice = (value: number) => {
    const high = Math.floor(value / 2 ** PARAMETER);
    if (high < 16) {
      for (let i = 0; i < high; i += 1) bits.push(1);
      bits.push(0);
      take(value % 2 ** PARAMETER, PARAMETER);
    } else {
      for (let i = 0; i < 16; i += 1) bits.push(1);
      const length = Math.floor(Math.log2(value)) + 1;
      take(length - 1, 6);
      take(value, length);
    }
  };
  const difference = (value: number) => rice(value < 0 ? -2 * value - 1 : 2 * value);
  return { bits, take, rice, difference };
}

/** A frame; without `base` a key frame, else a delta against these rows. */
export function frame(timestamp: number, key: number, rows: Row[], base?: Row[]): Uint8Array {
  const { bits, take, rice, difference } = coder();
  // An absent value is written nowhere, and stands for the one before it.
  const hundredths = (of: Row[], i: number): number => {
    const cpu = i < 0 ? 0 : of[i]?.cpu;
    return cpu === undefined ? hundredths(of, i - 1) : Math.round(cpu * 100);
  };
  rows.forEach((row, i) => {
    const [from, at] = base ? [base, row.at] : [rows, i - 1];
    const before = from[at];
    rice(row.at - (rows[i - 1]?.at ?? -1) - 1);
    take(1, 1);
    take(0, 3);
    take(row.cpu === undefined ? 0 : 1, 6);
    difference(row.age - (before?.age ?? 0));
    if (row.cpu !== undefined) difference(hundredths(rows, i) - hundredths(from, at));
  });
  const body = new Uint8Array(Math.ceil(bits.length / 8));
  bits.forEach((bit, i) => (body[i >> 3] = (body[i >> 3] ?? 0) | (bit << (i & 7))));
  const bytes = new Uint8Array(28 + body.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x4d, 0x45, 0x54, 0x52, 2, base ? 1 : 0]);
  view.setBigInt64(8, BigInt(timestamp), true);
  view.setUint32(16, key, true);
  view.setUint32(20, rows.length, true);
  bytes.fill(PARAMETER | (PARAMETER << 4), 24, 28);
  bytes.set(body, 28);
  return bytes;
}
