/** What a log of several containers is called. */
import { plural } from "../format/units";
import type { LogMember } from "../live/types";
import type { Selector } from "./selector";

export interface Title {
  name: string;
  /** The device that all of them are on, where the log is of one. */
  device?: { uuid: string; name: string };
  /** For the name of a file. */
  file: string;
}

export function titleOf(selector: Selector, members: readonly LogMember[]): Title {
  const on = (uuid: string) => {
    const known = members.find(({ deviceUuid }) => deviceUuid === uuid)?.deviceName;
    return { uuid, name: known || uuid.slice(0, 8) };
  };
  switch (selector.kind) {
    case "device": {
      const device = on(selector.device);
      return { name: "All logs", device, file: device.name };
    }
    case "project":
      return {
        name: `Project ${selector.project}`,
        ...(selector.device && { device: on(selector.device) }),
        file: selector.project,
      };
    case "tag":
      return { name: `Devices tagged ${selector.tag}`, file: selector.tag };
    case "containers": {
      const names = members.map(({ name }) => name);
      const few = names.length > 0 && names.length <= 3;
      return {
        name: few ? names.join(", ") : plural(selector.containers.length, "container"),
        file: few ? names.join("-") : "containers",
      };
    }
  }
}
