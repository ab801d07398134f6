import { expect, it } from "vitest";
import { blank, toDraft, words } from "./draft";

it("says only what was typed", () => {
  expect(toDraft({ ...blank(), address: " me@host " })).toEqual({
    address: "me@host",
    ssh: { signIn: ["hub-key"] },
  });
  // What was typed for another way to sign in stays here.
  const typed = { ...blank(), address: "me@host", password: "x", privateKey: "k", tags: "a, b,,a" };
  expect(toDraft({ ...typed, signIn: "agent" })).toEqual({
    address: "me@host",
    tags: ["a", "b"],
    ssh: { signIn: ["agent"] },
  });
  expect(toDraft({ ...typed, signIn: "key" }).secrets).toEqual({ privateKey: "k\n" });
  expect(toDraft({ ...typed, signIn: "password" }).secrets).toEqual({ password: "x" });
});

it("takes words apart", () => {
  expect(words(" web,  eu west ,web,")).toEqual(["web", "eu west"]);
});
