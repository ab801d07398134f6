import { expect, test } from "vitest";
import { find } from "./palette";
import { parsePath, patchQuery, safeReturn } from "./route";

const UUID = "0198c0de-0000-7000-8000-0000000000ab";

test.each([
  ["/", { view: "fleet" }],
  ["/sign-in", { view: "sign-in" }],
  ["/settings/", { view: "settings" }],
  ["/system", { view: "system" }],
  ["/search", { view: "search" }],
  [`/log/${UUID}:0123456789ab`, { view: "stored", stream: `${UUID}:0123456789ab` }],
  [`/device/${UUID}`, { view: "device", uuid: UUID }],
  ["/container/0123456789ab", { view: "container", id: "0123456789ab" }],
])("%s", (path, route) => expect(parsePath(path)).toEqual(route));

test.each([
  "/device",
  "/device/",
  "/device/web-1",
  `/device/${UUID}/x`,
  "/container/XYZ",
  "/sign-in/x",
  "/system/x",
  "/log/0123456789ab",
  "/devices",
])("%s is no page", (path) => expect(parsePath(path)).toEqual({ view: "unknown", path }));

test("a query is changed in parts, and empty parts go", () => {
  expect(patchQuery("?q=web&sort=cpu", { q: undefined, dir: "asc" })).toBe("?sort=cpu&dir=asc");
  expect(patchQuery("?q=web", { q: "" })).toBe("");
});

test("after a sign-in one returns to our own pages only", () => {
  expect(safeReturn("/device/x?range=5m")).toBe("/device/x?range=5m");
  for (const path of [
    null,
    "",
    "//evil.example",
    "/\\evil.example",
    "https://evil.example",
    "/sign-in",
  ]) {
    expect(safeReturn(path)).toBe("/");
  }
});

test("the best fit comes first", () => {
  const targets = ["my-web", "web-1", "web", "cobweb", "w-e-b", "db"].map((name) => ({
    name,
    about: "",
    href: name,
  }));
  expect(find(targets, "WEB").map(({ name }) => name)).toEqual([
    "web",
    "web-1",
    "my-web",
    "cobweb",
    "w-e-b",
  ]);
  expect(find(targets, " ").length).toBe(6);
  expect(find(targets, "zzz")).toEqual([]);
});
