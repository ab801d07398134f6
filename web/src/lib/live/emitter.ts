/** Listeners of one kind of event. */
export class Emitter<T> {
  #listeners = new Set<(value: T) => void>();

  /** Adds a listener; gives the function that takes it away again. */
  on(listener: (value: T) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  emit(value: T): void {
    for (const listener of [...this.#listeners]) listener(value);
  }
}
