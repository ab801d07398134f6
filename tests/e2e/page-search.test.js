// The search page and stored logs, in a real browser, with real Docker containers.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import path from "node:path";
import { Browser, OUT } from "./fixtures/browser.js";
import { Docker } from "./fixtures/docker.js";
import { Hub } from "./fixtures/hub.js";
import { LogPage, script } from "./fixtures/logs.js";

let docker, hub, browser, page, log, many, hostile;

const GONE = `echo 'INFO ready'; echo '{"level":"error","msg":"slow zebra query","took":12}'
i=0; while [ $i -lt 40 ]; do i=$((i+1)); echo "after the zebra $i"; done; sleep 1000`;

const MANY = `i=0; while [ $i -lt 5000 ]; do i=$((i+1)); echo "number $i"; [ $((i % 100)) -gt 0 ] || sleep 0.1; done
while :; do i=$((i+1)); echo "number $i"; sleep 0.5; done`;

const HOSTILE = `printf '%s\\n' 'okapi <img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
printf '\\033]0;owned\\007okapi \\033[2J\\033]8;;javascript:window.hurt=1\\007link\\033]8;;\\007\\n'
printf 'okapi \\342\\200\\256 fdp.exe \\007\\n'; sleep 1000`;

before(async () => {
  docker = await Docker.start();
  hub = await Hub.start({ docker });
  const gone = await script(docker, "gone", GONE);
  many = await script(docker, "many", MANY);
  hostile = await script(docker, "hostile", HOSTILE, "--label", "x=<b>owned</b>");
  browser = await Browser.start();
  page = await browser.page();
  log = new LogPage(page, hub);
  await page.goto(hub.link);
  await page.getByTestId("fleet-row").waitFor();
  await search("q=zebra", 41);
  await docker.run("rm", "-f", gone);
});

after(async () => {
  await browser?.stop();
  await hub?.stop();
  await docker?.stop();
});

const found = async () =>
  Number((await page.getByTestId("search-count").textContent()).replace(/\D/g, ""));

const ended = () => page.locator("[data-testid=search][data-state=ended]").waitFor();

/** Opens the search page until so many lines are found: storing takes a moment. */
async function search(query, least) {
  for (let i = 0; ; i++) {
    await page.goto(`${hub.url}/search?${query}`);
    await ended();
    const count = await found();
    if (count >= least) return count;
    assert.ok(i < 60, `${query}: ${count} of ${least} lines`);
    await page.waitForTimeout(250);
  }
}

test("typed, found, marked; the address holds it; a mistake is said at its place", async () => {
  await page.goto(`${hub.url}/`);
  await page.getByTestId("fleet-row").waitFor();
  await page.getByRole("link", { name: "Search" }).click();
  await page.locator("[data-testid=search-query]:focus").waitFor();
  await page.keyboard.type("zebra -after");
  await log.until("one line", async () => (await found()) === 1);
  await ended();
  assert.equal(await page.getByTestId("search-line").locator("mark").textContent(), "zebra");
  assert.equal(new URL(page.url()).searchParams.get("q"), "zebra -after");
  await page.getByTestId("search-query").fill("/(/");
  await page.getByTestId("search-wrong").waitFor();
  assert.match(await page.getByTestId("search-wrong").textContent(), /unclosed group/);
  await page.getByTestId("search-query").fill("zebra");
  await log.until("all", async () => (await found()) === 41);
  await page.getByTestId("search-level").filter({ hasText: "error" }).click();
  await log.until("the error", async () => (await found()) === 1);
  await page.goto(page.url());
  await log.until("the same by its address", async () => (await found()) === 1);
});

test("a line of a removed container opens in its context, by keyboard", async () => {
  await search("q=slow", 1);
  await page.getByTestId("search-query").press("Enter");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/log\/.*place=/);
  const linked = page.locator(".log-row.linked .log-message");
  await linked.waitFor();
  assert.equal(await linked.textContent(), "slow zebra query");
  assert.equal(await page.getByTestId("stored-name").textContent(), "gone");
  const around = await log.messages();
  assert.ok(around.includes("INFO ready") && around.includes("after the zebra 1"), around.join());
  await page.screenshot({ path: path.join(OUT, "search-context.png") });
  await page.goBack();
  await log.until("the results again", async () => (await found()) === 1);
});

test("stored lines page back to the first and on to the last", async () => {
  await search("q=number", 5_000);
  await page.goto(`${hub.url}/search?q=%22number%202500%22`);
  await page.getByTestId("search-line").first().click();
  await page.locator(".log-row.linked").waitFor();
  const first = async () => (await log.messages())[0] === "number 1";
  await log.scroller.focus();
  await log.until(
    "the first line",
    async () => {
      await page.keyboard.press("Home");
      return first();
    },
    20_000,
  );
  const lines = await log.lines();
  assert.ok(lines >= 3_400, `${lines} lines`);
  await log.until(
    "the last lines",
    async () => {
      await page.keyboard.press("End");
      return Number((await log.messages()).at(-1).replace("number ", "")) > 5_000;
    },
    20_000,
  );
});

test("the live log goes back into the store, each line once", async () => {
  await log.open(many);
  await log.until("a thousand", async () => (await log.lines()) >= 1_000);
  await log.scroller.focus();
  await log.until(
    "the first line",
    async () => {
      await page.keyboard.press("Home");
      return (await log.messages())[0] === "number 1";
    },
    30_000,
  );
  const download = page.waitForEvent("download");
  await page.keyboard.press("d");
  const text = await readFile(await (await download).path(), "utf8");
  const numbers = [...text.matchAll(/number (\d+)$/gm)].map(([, number]) => Number(number));
  const odd = numbers.flatMap((number, i) => (number === i + 1 ? [] : [[i + 1, number]]));
  assert.deepEqual(odd.slice(0, 5), [], "each number once, after the one before");
  assert.ok(numbers.length > 5_000);
});

test("a link to a line that the page does not hold any more is answered by the store", async () => {
  await search("q=%22number%205003%22", 1);
  await page.getByTestId("search-line").click();
  await page.locator(".log-row.linked").waitFor();
  await log.scroller.focus();
  await page.keyboard.press("l");
  await page.waitForURL(/line=/);
  const at = new URL(page.url()).searchParams.get("line").split("@")[1];
  await page.goto(`${hub.url}/container/${many}?line=gone-7@${at}`);
  await page.waitForURL(/\/log\/.*at=/);
  await log.until("its neighbourhood", async () =>
    (await log.messages()).some((message) => message === "number 5003"),
  );
});

test("the histogram narrows the time; all is saved as a file", async () => {
  await search("q=zebra", 41);
  const bars = page.getByTestId("search-bars").locator("canvas");
  const painted = await bars.evaluate((canvas) =>
    canvas
      .getContext("2d")
      .getImageData(0, 0, canvas.width, canvas.height)
      .data.some((value) => value !== 0),
  );
  assert.ok(painted);
  const box = await bars.boundingBox();
  await page.mouse.move(box.x + 2, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width - 2, box.y + 20);
  await page.mouse.up();
  await page.waitForURL(/from=\d+&to=\d+/);
  await log.until("the same lines", async () => (await found()) === 41);
  for (const [id, kind, read] of [
    ["search-ndjson", "ndjson", (line) => JSON.parse(line).message],
    ["search-text", "log", (line) => line],
  ]) {
    const download = page.waitForEvent("download");
    await page.getByTestId(id).click();
    const file = await download;
    assert.ok(file.suggestedFilename().endsWith(`.${kind}`), file.suggestedFilename());
    const lines = (await readFile(await file.path(), "utf8")).trim().split("\n");
    assert.equal(lines.length, 41);
    for (const line of lines) assert.match(read(line), /zebra/);
  }
});

test("what stored lines say does nothing", async () => {
  await search("q=okapi", 3);
  const bad = () =>
    page.evaluate(
      () =>
        document.querySelectorAll(".results img, .results script, .log-host img, .log-host a")
          .length,
    );
  assert.equal(await bad(), 0);
  const texts = await page.getByTestId("search-line").locator(".text").allTextContents();
  assert.ok(texts.some((text) => text.includes("<script>")));
  assert.ok(!texts.some((text) => /[\u0000-\u0008\u000b-\u001f\u202a-\u202e]/.test(text)));
  await page.getByTestId("search-line").first().click();
  await page.locator(".log-row.linked").waitFor();
  assert.equal(await bad(), 0);
  assert.equal(await page.evaluate(() => window.hurt), undefined);
  assert.match(await page.title(), /^hostile · Kobel$/);
  await log.open(hostile);
});

test("1440 and 390 pixels, light and dark", async () => {
  for (const [width, height] of [
    [1440, 900],
    [390, 844],
  ]) {
    await page.setViewportSize({ width, height });
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await search("q=zebra", 41);
      await page.waitForTimeout(300);
      const wider = await page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      );
      assert.ok(wider <= 0, `${wider} px too wide`);
      await page.screenshot({ path: path.join(OUT, `search-${width}-${colorScheme}.png`) });
    }
  }
});

test("nothing went wrong in the page", () => {
  const expected = /Failed to load resource/;
  assert.deepEqual(
    page.problems.filter((problem) => !expected.test(problem)),
    [],
  );
});
