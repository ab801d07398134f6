/**
 * What the hub is told of whether anybody looks. Somebody who only watches a second monitor looks
 * too: as long as the page can be seen the hub hears of it every few seconds, with or without the
 * focus, and goes on at its fastest pace. A page that cannot be seen says so once and is silent.
 */

/** A visible page says so this often, milliseconds: twice within the hub's 10 s. */
export const BEAT_MS = 5_000;

/** Gives what to say at each turn: true and false as `visible`, undefined for nothing. */
export class Activity {
  #visible: boolean;
  #saidAt = -Infinity;

  constructor(visible: boolean) {
    this.#visible = visible;
  }

  get visible(): boolean {
    return this.#visible;
  }

  /** The page was looked at, or turned away from, at `now` in milliseconds. */
  look(visible: boolean, now: number): boolean | undefined {
    if (visible === this.#visible) return visible ? this.act(now) : undefined;
    this.#visible = visible;
    return this.say(now);
  }

  /** Somebody moved the pointer, pressed a key, scrolled. Says so unless it was just said. */
  act(now: number): boolean | undefined {
    return this.#visible && now - this.#saidAt >= BEAT_MS ? this.say(now) : undefined;
  }

  /** It is time to say it again, or there is a new connection to say it to. */
  say(now: number): boolean {
    this.#saidAt = now;
    return this.#visible;
  }
}
