/** Logs side by side, as the address says them: each by its own address, filters and all. */
import { parsePath, patchQuery } from "../route";

/** So many at most: narrower ones say nothing. */
export const MOST_PANES = 4;

export interface Pane {
  /** Tells it from the others: no log is there twice. */
  path: string;
  query: URLSearchParams;
  log: { view: "container"; id: string } | { view: "logs"; selector: string };
}

/** The logs of an address; what is none is left out, and so is what comes again. */
export function readPanes(addresses: readonly string[]): Pane[] {
  const panes: Pane[] = [];
  for (const address of addresses) {
    if (!address.startsWith("/") || panes.length >= MOST_PANES) continue;
    const at = address.indexOf("?");
    const path = at < 0 ? address : address.slice(0, at);
    const route = parsePath(path);
    if (route.view !== "container" && route.view !== "logs") continue;
    if (panes.some((pane) => pane.path === path)) continue;
    panes.push({ path, query: new URLSearchParams(at < 0 ? "" : address.slice(at)), log: route });
  }
  return panes;
}

export function paneAddress({ path, query }: Pick<Pane, "path" | "query">): string {
  const text = query.toString();
  return text ? `${path}?${text}` : path;
}

/** A pane with some values of its address changed. */
export function patched(pane: Pane, patch: Record<string, string | undefined>): Pane {
  return { ...pane, query: new URLSearchParams(patchQuery(`?${pane.query.toString()}`, patch)) };
}

/** A pane with a value changed that may be there several times. */
export function patchedAll(pane: Pane, key: string, values: readonly string[]): Pane {
  const query = new URLSearchParams(pane.query);
  query.delete(key);
  for (const value of values) query.append(key, value);
  return { ...pane, query };
}
