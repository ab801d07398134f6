/** So many ones begin a number that is written in full. */
const ESCAPE = 16;

/** No record takes more bytes than this, so much may be read beyond the end. */
const BEYOND = 128;

/**
 * Takes bits off bytes, least significant first. Beyond the end come zeros: whoever reads asks
 * {@link isOver} after each record.
 */
export class Bits {
  private bytes = new Uint8Array(1024);
  private at = 0;
  private end = 0;

  /** Begins anew, with a copy of these bytes from `offset` on. */
  load(bytes: Uint8Array, offset: number): void {
    const length = bytes.length - offset;
    if (this.bytes.length < length + BEYOND) {
      this.bytes = new Uint8Array(2 * length + BEYOND);
    }
    this.bytes.set(offset === 0 ? bytes : bytes.subarray(offset));
    this.bytes.fill(0, length, length + BEYOND);
    this.at = 0;
    this.end = length * 8;
  }

  /** Whether more was read than there is. */
  get isOver(): boolean {
    return this.at > this.end;
  }

  /** Bits not yet read. */
  get left(): number {
    return this.end - this.at;
  }

  /** The next 32 bits, which stay. */
  private peek(): number {
    const bytes = this.bytes;
    const first = this.at >>> 3;
    const shift = this.at & 7;
    const low =
      (bytes[first]! |
        (bytes[first + 1]! << 8) |
        (bytes[first + 2]! << 16) |
        (bytes[first + 3]! << 24)) >>>
      shift;
    // In two steps: a shift by 32 would be none.
    return low | ((bytes[first + 4]! << 1) << (31 - shift));
  }

  /** The next `count` bits, 1 to 32, as a number of no sign. */
  take(count: number): number {
    const value = (this.peek() << (32 - count)) >>> (32 - count);
    this.at += count;
    return value;
  }

  /** The next bit. */
  flag(): boolean {
    const bit = (this.bytes[this.at >>> 3]! >>> (this.at & 7)) & 1;
    this.at++;
    return bit === 1;
  }

  /**
   * The next number in Rice's code with parameter `parameter`. Beyond 2^53 it is not exact, and
   * beyond the range of every field.
   */
  rice(parameter: number): number {
    const word = this.peek();
    const zeros = ~word;
    if ((zeros & 0xffff) !== 0) {
      const ones = 31 - Math.clz32(zeros & -zeros);
      this.at += ones + 1 + parameter;
      return (ones << parameter) | ((word >>> (ones + 1)) & ((1 << parameter) - 1));
    }
    this.at += ESCAPE;
    const length = this.take(6) + 1;
    const low = this.take(Math.min(length, 32));
    return length > 32 ? low + this.take(length - 32) * 2 ** 32 : low;
  }

  /** The next difference: Rice's code of its zigzag number. */
  difference(parameter: number): number {
    const number = this.rice(parameter);
    return number % 2 === 0 ? number / 2 : -(number + 1) / 2;
  }
}
