/**
 * How far this computer's clock is from the hub's. Ages are told by the local clock; where only
 * the hub's word exists (a sample taken before we came), it is translated by this.
 */
export class Skew {
  /** Local minus hub, milliseconds: the least seen, since a message can only be late. */
  #least: number | undefined;

  /** A message that the hub stamped `stamped` came at `arrived`, both in epoch milliseconds. */
  observe(stamped: number, arrived: number): void {
    if (!Number.isFinite(stamped)) return;
    const difference = arrived - stamped;
    if (this.#least === undefined || difference < this.#least) this.#least = difference;
  }

  /** Forgets what it knows: either clock may have been set since. */
  reset(): void {
    this.#least = undefined;
  }

  /** The hub's instant by the local clock; the clocks are taken as equal until known better. */
  toLocal(stamped: number): number {
    return stamped + (this.#least ?? 0);
  }

  /** A local instant by the hub's clock. */
  toHub(local: number): number {
    return local - (this.#least ?? 0);
  }
}

/**
 * When a sample was fresh, by the local clock; `sampledAt` by the hub's. A sample of a device that delivers is as fresh as
 * its arrival; one that was old already when we got it keeps its age.
 */
export function freshAt(
  sampledAt: number,
  delivers: boolean,
  arrived: number,
  skew: Skew,
): number | undefined {
  if (delivers) return arrived;
  return Number.isFinite(sampledAt) ? Math.min(arrived, skew.toLocal(sampledAt)) : undefined;
}
