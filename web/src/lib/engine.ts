/** A device's container engine in words. */
import type { Engine } from "./live/types";

export interface EngineText {
  /** Such as "Docker 27.3.1", once it has answered. */
  name: string | undefined;
  /** What stands where the containers would, when they cannot be read. */
  problem: { title: string; message: string } | undefined;
}

const KINDS = { docker: "Docker", podman: "Podman" } as const;

const TITLES = {
  unknown: "Looking for a container engine",
  absent: "No container engine",
  denied: "The container engine may not be read",
  error: "The container engine answers with an error",
} as const;

export function describeEngine({ state, kind, version, endpoint, message }: Engine): EngineText {
  const name = kind && [KINDS[kind], version].filter(Boolean).join(" ");
  if (state === "connected") {
    // The hub was told to leave the engine alone.
    const shown = endpoint === "cgroups" ? "by their cgroups" : name;
    return { name: shown, problem: undefined };
  }
  return {
    name,
    problem: { title: TITLES[state], message: message ?? "" },
  };
}
