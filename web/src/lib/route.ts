/** The page's addresses: which path is which view. */
import { readSelector, type Selector, selectorText } from "./logs/selector";

export type Route =
  | { view: "fleet" }
  | { view: "device"; uuid: string }
  | { view: "container"; id: string }
  | { view: "sign-in" }
  | { view: "settings" }
  | { view: "system" }
  | { view: "hosts" }
  | { view: "add-host" }
  | { view: "host"; uuid: string }
  | { view: "search" }
  | { view: "stored"; stream: string }
  /** How much is written by whom. */
  | { view: "volume" }
  /** The log of several containers. */
  | { view: "logs"; selector: string }
  /** Logs side by side. */
  | { view: "split" }
  | { view: "unknown"; path: string };

const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const CONTAINER = /^[0-9a-f]{12,64}$/;
const STREAM = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9a-f]{12,64}$/;

export function parsePath(path: string): Route {
  const [, first, second, ...rest] = path.replace(/\/+$/, "").split("/");
  if (first === "logs" && second) {
    // A slash of the selector may stand as it is: so the room's name can be written there.
    const selector = decoded([second, ...rest].join("/"));
    if (selector && readSelector(selector)) return { view: "logs", selector };
  }
  if (rest.length === 0) {
    if (first === undefined) return { view: "fleet" };
    if (second === undefined && first === "sign-in") return { view: "sign-in" };
    if (second === undefined && first === "settings") return { view: "settings" };
    if (second === undefined && first === "system") return { view: "system" };
    if (first === "hosts" && second === undefined) return { view: "hosts" };
    if (first === "hosts" && second === "add") return { view: "add-host" };
    if (first === "hosts" && second && UUID.test(second)) return { view: "host", uuid: second };
    if (second === undefined && first === "search") return { view: "search" };
    if (first === "logs" && second === undefined) return { view: "volume" };
    if (second === undefined && first === "split") return { view: "split" };
    if (first === "log" && second && STREAM.test(second)) return { view: "stored", stream: second };
    if (first === "device" && second && UUID.test(second)) return { view: "device", uuid: second };
    if (first === "container" && second && CONTAINER.test(second)) {
      return { view: "container", id: second };
    }
  }
  return { view: "unknown", path };
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text);
  } catch {
    return undefined;
  }
}

/** The hub's own figures. */
export const SYSTEM_PATH = "/system";

/** The inventory. */
export const HOSTS_PATH = "/hosts";

export const ADD_HOST_PATH = "/hosts/add";

export function hostPath(uuid: string): string {
  return `/hosts/${uuid}`;
}

/** Stored lines of all containers. */
export const SEARCH_PATH = "/search";

/** How much is written by whom. */
export const LOGS_PATH = "/logs";

/** The lines of several containers in one log. */
export function logsPath(selector: Selector): string {
  // Colons, commas and slashes stay readable, but for a slash that would end the part.
  const text = encodeURIComponent(selectorText(selector)).replace(/%3A/g, ":").replace(/%2C/g, ",");
  return `/logs/${text}`;
}

/** Logs side by side, each by its own address. */
export function splitPath(addresses: readonly string[]): string {
  return `/split?${new URLSearchParams(addresses.map((one) => ["log", one])).toString()}`;
}

/** Stored lines of one container, `deviceUuid:containerId`, also of one that is gone. */
export function storedPath(stream: string, place?: string): string {
  return `/log/${stream}${place ? `?place=${encodeURIComponent(place)}` : ""}`;
}

/** The same at an instant, epoch milliseconds. */
export function storedAtPath(stream: string, at: number): string {
  return `/log/${stream}?at=${at.toFixed(3)}`;
}

export function devicePath(uuid: string): string {
  return `/device/${uuid}`;
}

export function containerPath(id: string): string {
  return `/container/${id}`;
}

/** A query with some values changed; empty ones are left out, so a plain view has a plain URL. */
export function patchQuery(search: string, patch: Record<string, string | undefined>): string {
  const query = new URLSearchParams(search);
  for (const [key, value] of Object.entries(patch)) {
    if (value) query.set(key, value);
    else query.delete(key);
  }
  const text = query.toString();
  return text ? `?${text}` : "";
}

/** The path to go to after a sign-in: only one of our own, never another site's. */
export function safeReturn(path: string | null): string {
  return path && /^\/(?![/\\])/.test(path) && !path.startsWith("/sign-in") ? path : "/";
}
