/**
 * How high each line of a long list is, and where it stands. Sums are kept for blocks of lines: to
 * find a place among a million lines takes a thousand additions and then a thousand more at most.
 */

/** Lines of a block. */
const BLOCK = 1_024;

/** The block of a position; not by shifting bits, for positions grow for weeks. */
const blockOf = (position: number) => Math.floor(position / BLOCK);

export class Heights {
  first = 0;
  end = 0;
  total = 0;

  #capacity = BLOCK * 4;
  #heights = new Float32Array(BLOCK * 4);
  /** One more than fit, for the list seldom begins with a block. */
  #sums = new Float64Array(4 + 1);

  /** Begins anew at a position. */
  reset(first: number): void {
    this.first = this.end = first;
    this.total = 0;
    this.#sums.fill(0);
  }

  push(height: number): void {
    if (this.end - this.first >= this.#capacity) this.#grow();
    if (this.end % BLOCK === 0) this.#sums[this.#block(this.end)] = 0;
    this.#heights[this.end % this.#capacity] = height;
    this.#add(this.end, height);
    this.end += 1;
  }

  /** Puts a line before the first one. */
  unshift(height: number): void {
    if (this.end - this.first >= this.#capacity) this.#grow();
    this.first -= 1;
    if (this.first % BLOCK === BLOCK - 1) this.#sums[this.#block(this.first)] = 0;
    this.#heights[this.first % this.#capacity] = height;
    this.#add(this.first, height);
  }

  /** Takes lines off the front, up to a position; gives their height. */
  dropTo(position: number): number {
    let dropped = 0;
    for (const to = Math.min(position, this.end); this.first < to; this.first += 1) {
      const height = this.height(this.first);
      this.#add(this.first, -height);
      dropped += height;
    }
    return dropped;
  }

  height(position: number): number {
    return this.#heights[position % this.#capacity] ?? 0;
  }

  /** Sets a line's height; gives by how much it grew. */
  set(position: number, height: number): number {
    const grown = height - this.height(position);
    if (grown !== 0) {
      this.#heights[position % this.#capacity] = height;
      this.#add(position, grown);
    }
    return grown;
  }

  /** Sets the heights of all lines anew. */
  renew(height: (position: number) => number): void {
    this.total = 0;
    for (let at = this.first; at < this.end;) {
      const stop = Math.min((blockOf(at) + 1) * BLOCK, this.end);
      const block = this.#block(at);
      let sum = 0;
      for (; at < stop; at += 1) {
        const one = height(at);
        this.#heights[at % this.#capacity] = one;
        sum += one;
      }
      this.#sums[block] = sum;
      this.total += sum;
    }
  }

  /** Where a line begins, from the front of the list. */
  offset(position: number): number {
    let offset = 0;
    let at = this.first;
    while (blockOf(at) < blockOf(position)) {
      offset += this.#sums[this.#block(at)] ?? 0;
      at = (blockOf(at) + 1) * BLOCK;
    }
    for (; at < position; at += 1) offset += this.height(at);
    return offset;
  }

  /** The line at an offset from the front; the last one beyond the end. */
  find(offset: number): number {
    let rest = Math.max(offset, 0);
    let at = this.first;
    for (;;) {
      const next = (blockOf(at) + 1) * BLOCK;
      const sum = this.#sums[this.#block(at)] ?? 0;
      if (rest < sum || next >= this.end) break;
      rest -= sum;
      at = next;
    }
    while (at < this.end - 1 && rest >= this.height(at)) {
      rest -= this.height(at);
      at += 1;
    }
    return at;
  }

  #block(position: number): number {
    return blockOf(position) % this.#sums.length;
  }

  #add(position: number, height: number): void {
    const block = this.#block(position);
    this.#sums[block] = (this.#sums[block] ?? 0) + height;
    this.total += height;
  }

  #grow(): void {
    const [old, before] = [this.#heights, this.#capacity];
    this.#capacity = before * 2;
    this.#heights = new Float32Array(this.#capacity);
    this.#sums = new Float64Array(this.#capacity / BLOCK + 1);
    this.total = 0;
    for (let at = this.first; at < this.end; at += 1) {
      const height = old[at % before] ?? 0;
      this.#heights[at % this.#capacity] = height;
      this.#add(at, height);
    }
  }
}
