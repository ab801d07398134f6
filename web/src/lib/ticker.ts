/**
 * One clock tick a second for everything that counts time on the page: ages, waits, retries. It
 * stands still while nobody can see the page, and ticks at once when somebody looks again.
 */
import { untrack } from "svelte";

type Listener = (now: number) => void;

const EVERY_MS = 1_000;

const listeners = new Set<Listener>();
let timer: ReturnType<typeof setInterval> | undefined;

function tick(): void {
  const now = Date.now();
  for (const listener of listeners) listener(now);
}

function adjust(): void {
  const wanted = listeners.size > 0 && document.visibilityState === "visible";
  if (wanted && timer === undefined) {
    timer = setInterval(tick, EVERY_MS);
  } else if (!wanted && timer !== undefined) {
    clearInterval(timer);
    timer = undefined;
  }
}

/** Calls `listener` at once and then each second; stops by the returned function. */
export function onTick(listener: Listener): () => void {
  if (listeners.size === 0) document.addEventListener("visibilitychange", visibility);
  listeners.add(listener);
  // Called from effects: what a listener reads must not make the effect run again.
  untrack(() => listener(Date.now()));
  adjust();
  return () => {
    listeners.delete(listener);
    if (listeners.size === 0) document.removeEventListener("visibilitychange", visibility);
    adjust();
  };
}

function visibility(): void {
  adjust();
  if (document.visibilityState === "visible") tick();
}
