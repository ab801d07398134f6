import { expect, test } from "vitest";
import { find } from "./palette";
import { readSelector } from "./logs/selector";
import { logsPath, parsePath, patchQuery, safeReturn } from "./route";

const UUID = "0198c0de-0000-7000-8000-0000000000ab";

test.each([
  ["/", { view: "fleet" }],
  ["/sign-in", { view: "sign-in" }],
  ["/settings/", { view: "settings" }],
  ["/system", { view: "system" }],
  ["/search", { view: "search" }],
  ["/logs", { view: "volume" }],
  ["/split", { view: "split" }],
  ["/logs/tag:web", { view: "logs", selector: "tag:web" }],
  ["/logs/project:a%2Fb%3F", { view: "logs", selector: "project:a/b?" }],
  ["/logs/project:a/b", { view: "logs", selector: "project:a/b" }],
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
  "/logs/x",
  "/logs/tag:%E0%A4%A",
  "/log/0123456789ab",
  "/devices",
])("%s is no page", (path) => expect(parsePath(path)).toEqual({ view: "unknown", path }));

test.each(["tag:100% ?#/ü", `project:${UUID}/a/b`, "containers:0123456789ab,0123456789ac"])(
  "%s is an address and back",
  (text) => {
    const selector = readSelector(text);
    if (!selector) throw new Error("no selector");
    const { pathname, search } = new URL(logsPath(selector), "http://hub");
    expect([parsePath(pathname), search]).toEqual([{ view: "logs", selector: text }, ""]);
  },
);

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
