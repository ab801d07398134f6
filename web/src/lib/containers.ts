/** The columns of the container table, and how it is sorted by them. */
import { containerLook } from "./format/state";
import type { Container, LogVolume } from "./live/types";

export type ContainerSort =
  | "state"
  | "name"
  | "health"
  | "cpu"
  | "memory"
  | "networkIn"
  | "networkOut"
  | "blockRead"
  | "blockWrite"
  | "logLines"
  | "logBytes"
  | "restartCount"
  | "status"
  | "age";

export interface Column {
  key: ContainerSort;
  label: string;
  title: string;
  /** Whether it is a figure: the greatest first, and set to the right. */
  number: boolean;
}

export const COLUMNS: Column[] = [
  { key: "state", label: "State", title: "state", number: true },
  { key: "name", label: "Name", title: "project and name", number: false },
  { key: "cpu", label: "CPU", title: "CPU, of one core", number: true },
  { key: "memory", label: "Memory", title: "memory", number: true },
  { key: "health", label: "Health", title: "health", number: false },
  { key: "networkIn", label: "Net in", title: "network in", number: true },
  { key: "networkOut", label: "Net out", title: "network out", number: true },
  { key: "blockRead", label: "Read", title: "blocks read", number: true },
  { key: "blockWrite", label: "Written", title: "blocks written", number: true },
  { key: "logLines", label: "Lines", title: "lines logged", number: true },
  { key: "logBytes", label: "Logged", title: "bytes logged", number: true },
  { key: "restartCount", label: "Restarts", title: "restarts", number: true },
  { key: "status", label: "Status", title: "status", number: false },
  { key: "age", label: "Age", title: "age since it was made", number: true },
];

const names = new Intl.Collator("en", { numeric: true, sensitivity: "base" });

function text(container: Container, key: ContainerSort): string {
  switch (key) {
    case "health":
      return container.health ?? "";
    case "status":
      return container.status;
    default:
      return `${container.project ?? ""}\u0000${container.name}`;
  }
}

/** A container, and what it logs where that is known. */
interface Row {
  container: Container;
  volume?: LogVolume | undefined;
}

function figure({ container, volume }: Row, key: ContainerSort): number | undefined {
  switch (key) {
    case "logLines":
      return volume?.linesPerSecond;
    case "logBytes":
      return volume?.bytesPerSecond;
    case "state":
      return containerLook(container).weight;
    case "age":
      // Older is greater.
      return container.createdAt === undefined ? undefined : -Date.parse(container.createdAt);
    case "name":
    case "health":
    case "status":
      return undefined;
    default:
      return container[key];
  }
}

/** The rows in order; who has no such figure stands at the end. */
export function sortRows<R extends Row>(
  rows: readonly R[],
  key: ContainerSort,
  descending: boolean,
): R[] {
  const direction = descending ? -1 : 1;
  const number = COLUMNS.find((column) => column.key === key)?.number ?? false;
  return [...rows].sort((a, b) => {
    const last = names.compare(text(a.container, "name"), text(b.container, "name"));
    if (!number) {
      return names.compare(text(a.container, key), text(b.container, key)) * direction || last;
    }
    const [x, y] = [figure(a, key), figure(b, key)];
    if (x === undefined || y === undefined) {
      return x === y ? last : x === undefined ? 1 : -1;
    }
    return (x - y) * direction || last;
  });
}
