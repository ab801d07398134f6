import { expect, test } from "vitest";
import { sortRows } from "./containers";
import { describeEngine } from "./engine";
import type { Container, Engine } from "./live/types";

const row = (name: string, over: Partial<Container> = {}) => ({
  container: { name, state: "running", status: "Up", ...over } as Container,
});

test("containers are sorted by project, by figure, by trouble", () => {
  const rows = [
    row("b", { cpu: 2 }),
    row("a", { project: "shop", cpu: 9 }),
    row("c", { state: "exited", exitCode: 1 }),
  ];
  const names = (...args: [Parameters<typeof sortRows>[1], boolean]) =>
    sortRows(rows, ...args).map(({ container }) => container.name);
  expect(names("name", false)).toEqual(["b", "c", "a"]);
  expect(names("cpu", true)).toEqual(["a", "b", "c"]);
  expect(names("cpu", false)).toEqual(["b", "a", "c"]);
  expect(names("state", true)[0]).toBe("c");
});

test("an engine's own words are passed on unchanged", () => {
  const engine: Engine = {
    state: "denied",
    message: "Permission denied on /var/run/docker.sock. Add yourself to the group docker.",
    since: "2026-11-18T11:06:40.000Z",
  };
  expect(describeEngine(engine).problem?.message).toBe(engine.message);
  const connected = describeEngine({
    ...engine,
    state: "connected",
    kind: "podman",
    version: "5.2",
  });
  expect(connected).toEqual({ name: "Podman 5.2", problem: undefined });
});
