/** How the members of a log of several are told apart: by name, and by a colour besides. */
import type { Member } from "./merged.svelte";
import { containerPath } from "../route";
import type { Whose } from "./row";

/** Colours there are; more members share them. */
export const COLOURS = 8;

export function memberName(member: Member, several: boolean): string {
  return several && member.deviceName ? `${member.deviceName}/${member.name}` : member.name;
}

/** Whose line it is, by the number of its member. */
export function whoseOf(members: readonly Member[]): (of: number) => Whose | undefined {
  const several = new Set(members.map(({ deviceUuid }) => deviceUuid)).size > 1;
  const all = new Map(
    members.map((member): [number, Whose] => [
      member.index,
      {
        name: member.name,
        title: memberName(member, several),
        colour: member.index % COLOURS,
        href: containerPath(member.containerId),
      },
    ]),
  );
  return (of) => all.get(of);
}

/** So much of a container's id is told in an address. */
const SHORT = 12;

/** The numbers of the members that an address leaves out. */
export function readHidden(members: readonly Member[], off: readonly string[]): Set<number> {
  if (off.length === 0) return new Set();
  const ids = new Set(off);
  return new Set(
    members.filter(({ containerId }) => ids.has(containerId.slice(0, SHORT))).map((m) => m.index),
  );
}

/** What an address says of the members that are left out. */
export function hiddenText(members: readonly Member[], hidden: ReadonlySet<number>): string[] {
  return members.filter(({ index }) => hidden.has(index)).map((m) => m.containerId.slice(0, SHORT));
}
