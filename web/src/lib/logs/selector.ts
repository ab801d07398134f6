/**
 * Of whose containers the lines are put together: `device:<uuid>`, `project:<uuid>/<name>` (on one
 * device), `project:<name>` (on all), `tag:<tag>` of devices, `containers:<id>,<id>,…`.
 */
import type { Parameters } from "./stored";

/** Containers of one log at most; the hub follows no more. */
export const MOST_MEMBERS = 50;

export type Selector =
  | { kind: "device"; device: string }
  | { kind: "project"; device?: string; project: string }
  | { kind: "tag"; tag: string }
  | { kind: "containers"; containers: string[] };

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/;

export function readSelector(text: string): Selector | undefined {
  const colon = text.indexOf(":");
  const [kind, rest] = [text.slice(0, colon), text.slice(colon + 1)];
  if (colon < 0 || rest === "") return undefined;
  switch (kind) {
    case "device":
      return UUID.exec(rest)?.[0] === rest ? { kind, device: rest } : undefined;
    case "project": {
      const device = UUID.exec(rest)?.[0];
      if (!device || rest[device.length] !== "/") return { kind, project: rest };
      const project = rest.slice(device.length + 1);
      return project ? { kind, device, project } : undefined;
    }
    case "tag":
      return { kind, tag: rest };
    case "containers": {
      const containers = [...new Set(rest.split(","))].filter((id) => /^[0-9a-f]{12,64}$/.test(id));
      return containers.length > 0 ? { kind, containers } : undefined;
    }
    default:
      return undefined;
  }
}

export function selectorText(selector: Selector): string {
  switch (selector.kind) {
    case "device":
      return `device:${selector.device}`;
    case "project":
      return `project:${selector.device ? `${selector.device}/` : ""}${selector.project}`;
    case "tag":
      return `tag:${selector.tag}`;
    case "containers":
      return `containers:${selector.containers.slice(0, MOST_MEMBERS).join(",")}`;
  }
}

/** The same for the store. Of tags it knows nothing: the devices stand for theirs. */
export function storedOf(
  selector: Selector,
  members: readonly { deviceUuid: string }[],
): Parameters | undefined {
  switch (selector.kind) {
    case "device":
      return { device: selector.device };
    case "project":
      return { device: selector.device, project: selector.project };
    case "containers":
      return { container: selector.containers };
    case "tag": {
      const device = [...new Set(members.map(({ deviceUuid }) => deviceUuid))];
      return device.length > 0 ? { device } : undefined;
    }
  }
}
