/**
 * Containers that this page has seen, for the search: the fleet lists devices only. Bounded; the
 * longest unseen goes first.
 */
import type { Container } from "./live/types";

export interface KnownContainer {
  id: string;
  name: string;
  device: string;
  deviceUuid: string;
  project?: string | undefined;
}

const MOST = 5_000;

class Known {
  #containers = new Map<string, KnownContainer>();

  containers(device: { name: string }, containers: Container[]): void {
    for (const { containerId: id, name, state, deviceUuid, project } of containers) {
      this.#containers.delete(id);
      if (state !== "removed") {
        this.#containers.set(id, { id, name, device: device.name, deviceUuid, project });
      }
    }
    for (const id of this.#containers.keys()) {
      if (this.#containers.size <= MOST) break;
      this.#containers.delete(id);
    }
  }

  /** All of them, newest seen first. */
  list(): KnownContainer[] {
    return [...this.#containers.values()].reverse();
  }

  /** Forgets everything: somebody else may sign in, who may see less. */
  clear(): void {
    this.#containers.clear();
  }
}

export const known = new Known();
