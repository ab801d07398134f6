import { expect, test } from "vitest";
import { marks } from "./needle";

test.each([
  ["/5\\d\\d$/", "status 503", "503"],
  ["/to+k/", "it toook long", "toook"],
  ["/a.*?z/", "a to z to z", "a to z"],
  ["/(?:un)healthy/", "is unhealthy", "unhealthy"],
  ["/[*+]{2,3}/", "a ++* b", "++*"],
  ["/\\*+ done/", "** done", "** done"],
])("%s is marked", (query, line, found) => {
  expect(line.match(marks(query)!)?.[0]).toBe(found);
});

const MAYBE = (part: string) => `/${`${part}?`.repeat(24)}${part.repeat(24)}/`;

test.each(["/.*.*x/", "/(a+)+b/", "/a{1,}a{1,}b/", MAYBE("a"), MAYBE("\\(")])(
  "%s would hold up the tab and is not marked",
  (query) => expect(marks(query)).toBeUndefined(),
);

test("one repeat on a long line ends soon", () => {
  const begun = performance.now();
  expect("a".repeat(20_000).match(marks("/.*x/")!)).toBeNull();
  // Without a bound it takes more than a second.
  expect(performance.now() - begun).toBeLessThan(500);
});
