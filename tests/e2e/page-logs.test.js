// The page's log of a container, in a real browser, with real Docker containers.
import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import path from "node:path";
import { Browser, OUT } from "./fixtures/browser.js";
import { cost, inWords } from "./fixtures/cost.js";
import { Docker } from "./fixtures/docker.js";
import { flooded, line, pour } from "./fixtures/flood.js";
import { Hub } from "./fixtures/hub.js";
import { LogPage, script } from "./fixtures/logs.js";

let docker, hub, browser, page, log, count, mixed, hostile, flood;

const COUNT =
  "i=$(cat /n 2>/dev/null || echo 0); while :; do i=$((i+1)); echo $i >/n; echo line $i; sleep 0.1; done";

const MIXED = `echo 'INFO ready'
echo '{"level":"error","msg":"bad request","user":"u7","took":12}'
echo 'WARN slow' >&2
printf '\\033[1;31mred\\033[0m car\\n'
echo 'Exception in thread "main" java.lang.IllegalStateException: broken'
i=0; while [ $i -lt 9 ]; do i=$((i+1)); echo "	at com.example.App.call$i(App.java:$i)"; done
sleep 1
i=0; while :; do i=$((i+1)); echo "INFO plain $i"; echo "WARN odd $i" >&2; sleep 0.5; done`;

const HOSTILE = `printf '%s\\n' '<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'
printf '%s\\n' '{"msg":"<b onmouseover=window.hurt=1>bold</b>","<i>key</i>":"<svg onload=window.hurt=1>"}'
printf '\\033]0;owned\\007\\033[2J\\033[1;1H\\033]8;;javascript:window.hurt=1\\007link\\033]8;;\\007\\n'
printf 'abc \\342\\200\\256 fdp.exe \\000 \\007\\n'
dd if=/dev/zero bs=1000 count=200 2>/dev/null | tr '\\0' x; echo
sleep 1000`;

// As fast as a file can be written out: 200 lines each fifth of a second.
const FLOOD = `i=0; while [ $i -lt 200 ]; do i=$((i+1)); echo "INFO request $i took $((i*7)) ms and was answered with the usual answer"; done >/lines
while :; do cat /lines; sleep 0.18; done`;

const LONG = `i=0; while [ $i -lt 500 ]; do i=$((i+1)); echo "INFO request $i was answered with the usual answer"; done >/lines
sleep 4; j=0; while [ $j -lt 400 ]; do j=$((j+1)); cat /lines; sleep 0.05; done
sleep 1; echo "the rare end"; sleep 1000`;

before(async () => {
  docker = await Docker.start();
  count = await script(docker, "count", COUNT);
  mixed = await script(docker, "mixed", MIXED);
  hostile = await script(docker, "hostile", HOSTILE);
  hub = await Hub.start({ docker });
  browser = await Browser.start();
  page = await browser.page();
  log = new LogPage(page, hub);
  await page.goto(hub.link);
  await page.getByTestId("fleet-row").waitFor();
});

after(async () => {
  await browser?.stop();
  await hub?.stop();
  await docker?.stop();
});

test("lines before and lines as they come, each once and in order", async () => {
  await log.open(count);
  await log.until("lines", async () => (await log.lines()) > 20);
  const first = await log.messages();
  await log.until("newer lines", async () => (await log.messages()).at(-1) !== first.at(-1));
  const shown = (await log.messages()).map((text) => Number(text.replace("line ", "")));
  assert.deepEqual(
    shown,
    shown.map((_, i) => shown[0] + i),
  );
  await page.screenshot({ path: path.join(OUT, "logs-light.png") });
});

test("scrolled up it pauses and counts; End goes on", async () => {
  await log.until("more lines than fit", async () => (await log.lines()) > 80);
  assert.ok((await page.locator(".log-row").count()) < 70, "only rows in view are there");
  await log.scroller.hover();
  await page.mouse.wheel(0, -400);
  await log.at("log-paused").waitFor();
  await page.waitForTimeout(200);
  const [first] = await log.messages();
  await log.until("counting", async () =>
    /paused · [1-9]\d* new/.test(await log.at("log-paused").textContent()),
  );
  assert.equal((await log.messages())[0], first, "what is read does not move");
  await log.scroller.focus();
  await page.keyboard.press("End");
  await log.at("log-paused").waitFor({ state: "detached" });
  await log.until("the end", async () => (await log.messages())[0] !== first);
});

test("restarted, and the connection lost: marked, nothing twice", async () => {
  await docker.run("kill", count);
  await docker.run("start", count);
  await page.locator(".log-mark", { hasText: "started" }).first().waitFor();
  const before = await log.lines();
  await hub.process.stop();
  await page.waitForTimeout(500);
  await hub.up();
  await log.until("lines after it", async () => (await log.lines()) > before + 30, 40_000);
  await log.scroller.focus();
  await page.keyboard.press("Home");
  const seen = [];
  await log.until("the last line", async () => {
    seen.push(...(await log.messages()).map((text) => Number(text.replace("line ", ""))));
    await page.keyboard.press("PageDown");
    return (await log.scroller.evaluate((s) => s.scrollHeight - s.clientHeight - s.scrollTop)) < 20;
  });
  const numbers = [...new Set(seen)];
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => numbers[0] + i),
    "each number once, after the one before",
  );
  await page.keyboard.press("End");
});

test("levels, fields, traces and colours", async () => {
  await log.open(mixed);
  await log.until("lines", async () => (await log.lines()) > 10);
  const row = (text) => page.locator(".log-row", { hasText: text }).first();
  await log.scroller.focus();
  await page.keyboard.press("g");
  await log.until("the car", async () => (await log.messages()).includes("red car"));
  assert.match(await row("bad request").getAttribute("class"), /error/);
  assert.match(await row("slow").getAttribute("class"), /warn/);
  assert.equal(await row("red car").locator(".a-1.a-bold").textContent(), "red");
  const trace = row("IllegalStateException");
  assert.equal(await trace.locator(".log-more").textContent(), "+9 lines");
  await trace.locator(".log-more").click();
  assert.match(await trace.locator(".log-message").textContent(), /App\.java:9/);
  // The row's height has become known: the next row stands below it.
  const [above, below] = await trace.evaluate((row) => [
    row.getBoundingClientRect().bottom,
    row.nextElementSibling.getBoundingClientRect().top,
  ]);
  assert.ok(Math.abs(above - below) < 1, `${above} ${below}`);
  // By keyboard, too.
  await row("bad request").locator(".log-message").click();
  await page.keyboard.press("ArrowRight");
  const json = row("bad request");
  assert.match(await json.locator(".log-details").textContent(), /user.*u7/s);
  await json.locator("[data-act=column][data-name=user]").click();
  assert.equal(await json.locator(".log-cell").textContent(), "u7");
  assert.equal(new URL(page.url()).searchParams.get("col"), "user");
  await page.screenshot({ path: path.join(OUT, "logs-mixed.png") });
  await json.locator("[data-act=field][data-name=user]").click();
  await log.until("only these", async () => (await log.messages()).join() === "bad request");
});

test("the hub filters: level, text, inverse, and says what is wrong", async () => {
  await log.open(mixed);
  const plain = async () => (await log.messages()).filter((text) => /plain/.test(text)).length;
  await log.until("plain lines", plain);
  await page.keyboard.press("4");
  await log.until("no plain lines", async () => (await plain()) === 0 && (await log.lines()) > 2);
  assert.equal(new URL(page.url()).searchParams.get("level"), "warn");
  await page.keyboard.press("0");
  await page.keyboard.press("f");
  await page.keyboard.type("/odd \\d*[02468]$/");
  await log.until("even ones", async () => {
    const shown = await log.messages();
    return shown.length > 1 && shown.every((text) => /odd \d*[02468]$/.test(text));
  });
  await log.at("log-inverse").click();
  await log.until("the others", plain);
  await page.goto(page.url());
  await log.until("the same by its address", plain);
  await log.at("log-filter").fill("/(/");
  await log.at("log-wrong").waitFor();
  assert.match(await log.at("log-wrong").textContent(), /regex: unclosed group/);
  // And the page is still that of the container, with its lines.
  assert.equal(await log.at("container-name").textContent(), "mixed");
  assert.ok((await log.lines()) > 0);
});

test("found as one types, with a count, and stepped through", async () => {
  await log.open(count);
  await log.until("lines", async () => (await log.lines()) > 30);
  await page.keyboard.press("/");
  await page.keyboard.type("/LINE \\d*1$/i");
  await page.locator("mark").first().waitFor({ state: "attached" });
  const found = () => log.at("log-matches").textContent();
  await log.until("a count", async () => Number(await found()) >= 5);
  await page.keyboard.press("Enter");
  await log.until("a rank", async () => /^\d+ \/ \d+$/.test(await found()));
  const current = page.locator(".log-row.current .log-message");
  const one = await current.textContent();
  await log.scroller.focus();
  await page.keyboard.press("N");
  const two = await current.textContent();
  assert.match(two, /^line \d*1$/);
  assert.notEqual(one, two);
  await page.keyboard.press("n");
  assert.equal(await current.textContent(), one);
  await page.waitForTimeout(1_000);
  const painted = await page.locator("canvas.strip").evaluate((strip) => {
    const { data } = strip.getContext("2d").getImageData(0, 0, strip.width, strip.height);
    return data.some((value) => value !== 0);
  });
  assert.ok(painted, "matches are marked beside the scrollbar");
  const download = page.waitForEvent("download");
  await log.at("log-download").click();
  const file = await download;
  assert.match(file.suggestedFilename(), /^count-.*\.log$/);
  const lines = (await readFile(await file.path(), "utf8")).trim().split("\n");
  assert.ok(lines.length >= 5);
  for (const line of lines) assert.match(line, /^\S+Z -\s+line \d*1$/);
});

test("all stored lines go straight into a file, filtered", async () => {
  await log.open(mixed, "?level=warn");
  const link = log.at("log-export");
  await link.waitFor();
  const { headers, text } = await page.evaluate(
    async (href) => {
      const answer = await fetch(href);
      return { headers: Object.fromEntries(answer.headers), text: await answer.text() };
    },
    await link.getAttribute("href"),
  );
  assert.equal(headers["content-disposition"], "attachment");
  assert.equal(headers["content-type"], "text/plain; charset=utf-8");
  assert.match(text, /^\S+Z warn  \S+\/mixed \| WARN slow$/m);
  assert.doesNotMatch(text, /INFO/);
  const download = page.waitForEvent("download");
  await link.click();
  const file = await download;
  assert.match(file.suggestedFilename(), /^mixed-.*\.log$/);
  const saved = await readFile(await file.path(), "utf8");
  assert.ok(saved.startsWith(text.slice(0, 200)), saved.slice(0, 200));
});

test("a link to a line opens there; selected lines are copied", async () => {
  await log.open(count);
  await log.until("lines", async () => (await log.lines()) > 80);
  await log.scroller.focus();
  await page.keyboard.press("g");
  for (let i = 0; i < 3; i++) await page.keyboard.press("j");
  const wanted = await page.locator(".log-row.current .log-message").textContent();
  await page.keyboard.press("l");
  await page.waitForURL(/line=/);
  const other = await browser.page();
  await other.goto(page.url());
  const linked = other.locator(".log-row.linked .log-message");
  await linked.waitFor();
  assert.equal(await linked.textContent(), wanted);
  await other.goto(page.url().replace(/line=[^&]*/, "line=gone-7"));
  await other.getByTestId("log-missing").waitFor();
  page.problems.push(...other.problems);
  await other.close();
  await page.bringToFront();
  await page.keyboard.press("Shift+J");
  const copied = await page.evaluate(
    () =>
      new Promise((done) => {
        const heard = (event) => done(event.clipboardData.getData("text/plain"));
        document.addEventListener("copy", heard, { once: true });
        document.execCommand("copy");
      }),
  );
  assert.equal(copied.trim().split("\n").length, 2);
  assert.ok(copied.includes(wanted), copied);
});

test("a line shows its instant in the charts, and a chart goes to its lines", async () => {
  await log.open(count);
  await log.until("lines", async () => (await log.lines()) > 80);
  await page.waitForTimeout(2_500);
  const box = await log.scroller.boundingBox();
  await page.mouse.move(box.x + 300, box.y + 100);
  await page.mouse.move(box.x + 300, box.y + 110);
  const charts = await log.at("chart").count();
  await log.until("a cursor in each chart", async () => {
    const lines = await page.evaluate(() =>
      [...document.querySelectorAll(".u-cursor-x")].filter(
        (line) => !line.classList.contains("u-off"),
      ),
    );
    return lines.length === charts;
  });
  await page.mouse.move(10, 10);
  const over = await page.locator(".u-over").first().boundingBox();
  await page.mouse.click(over.x + over.width - 6, over.y + 20);
  await log.at("log-paused").waitFor();
  await page.keyboard.press("G");
  await log.at("log-paused").waitFor({ state: "detached" });
});

test("what lines say does nothing", async () => {
  await log.open(hostile, "?wrap=1");
  await log.until("lines", async () => (await log.lines()) >= 5);
  await page.waitForTimeout(500);
  await log.scroller.focus();
  await page.keyboard.press("g");
  const texts = await log.messages();
  assert.ok(texts.includes('<img src=x onerror="window.hurt=1"><script>window.hurt=1</script>'));
  // What turns the direction of writing is no part of the message, and a sign in the raw line.
  const acting = /[\u0000-\u0008\u000b-\u001f\u202a-\u202e\u2066-\u2069]/;
  assert.ok(!texts.some((text) => acting.test(text)), JSON.stringify(texts.slice(0, 4)));
  assert.ok(texts.includes("link"));
  for (let i = 0; i < 5; i++) {
    await page.keyboard.press("Enter");
    await page.keyboard.press("j");
  }
  const raw = page.locator(".log-raw", { hasText: "fdp.exe" });
  assert.match(await raw.textContent(), /abc ␦ fdp\.exe ␀ ␇/);
  const inside = await page
    .locator(".log-host")
    .evaluate((host) =>
      [...host.querySelectorAll("*")]
        .map((element) => element.tagName)
        .filter((tag) => /^(IMG|SCRIPT|SVG|B|I|A|IFRAME)$/i.test(tag)),
    );
  assert.deepEqual(inside, []);
  assert.equal(await page.evaluate(() => window.hurt), undefined);
  assert.notEqual(await page.title(), "owned");
  await page.screenshot({ path: path.join(OUT, "logs-hostile.png") });
});

test("390 pixels, dark and light; help by keyboard", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const colorScheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme });
    await log.open(mixed, "?wrap=1&charts=0");
    await log.until("lines", async () => (await log.lines()) > 5);
    await page.waitForTimeout(500);
    const wider = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.ok(wider <= 0, `${wider} px too wide`);
    await page.screenshot({ path: path.join(OUT, `logs-390-${colorScheme}.png`) });
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await log.open(mixed);
  await page.waitForTimeout(500);
  await page.screenshot({ path: path.join(OUT, "logs-dark.png") });
  await page.emulateMedia({ colorScheme: "light" });
  await page.keyboard.press("?");
  await log.at("log-help").waitFor();
  await page.keyboard.press("Escape");
  await log.at("log-help").waitFor({ state: "detached" });
});

test("what a thousand lines a second cost", async (t) => {
  flood = await script(docker, "flood", FLOOD);
  await log.open(flood);
  await log.until("a flood", async () => (await log.lines()) > 3_000, 20_000);
  const before = await log.lines();
  const figures = await cost(page, 10);
  const rate = ((await log.lines()) - before) / figures.seconds;
  t.diagnostic(inWords(`following ${rate.toFixed(0)} lines/s`, figures));
  assert.ok(rate > 400, `${rate} lines/s`);
  // Far from what is asked: a machine that compiles beside the test makes any task long.
  assert.ok(figures.main < 60, inWords("following", figures));
  assert.ok(figures.nodes < 20_000, inWords("following", figures));
  await docker.run("rm", "-f", flood);
});

test("two hundred thousand lines: all reachable, quick to scroll and to search", async (t) => {
  // The hub keeps the newest thousand for who comes later, so the page must be there first.
  const long = await script(docker, "long", LONG);
  await log.open(long);
  const ended = async () => (await log.messages()).at(-1) === "the rare end";
  await log.until("the end", ended, 90_000);
  const lines = await log.lines();
  assert.ok(lines > 100_000, `${lines} lines`);
  assert.ok((await page.locator(".log-row").count()) < 70);
  const box = await log.scroller.boundingBox();
  await page.mouse.move(box.x + 300, box.y + 100);
  const wheeled = await cost(page, 5, async () => {
    const end = Date.now() + 5_000;
    for (let i = 0; Date.now() < end; i++) {
      await page.mouse.wheel(0, Math.floor(i / 40) % 2 === 0 ? -600 : 600);
      await page.waitForTimeout(33);
    }
  });
  t.diagnostic(inWords(`the wheel over ${lines} lines`, wheeled));
  const dragged = await cost(page, 5, async () => {
    for (let i = 0; i < 60; i++) {
      await log.scroller.evaluate((s, i) => s.scrollTo({ top: (s.scrollHeight * i) / 60 }), i);
      await page.waitForTimeout(50);
    }
  });
  t.diagnostic(inWords("the scrollbar dragged over all of them", dragged));
  const begun = Date.now();
  await page.keyboard.press("/");
  await page.keyboard.type("answer");
  const found = () => log.at("log-matches").textContent();
  await log.until("all matches", async () => Number((await found()).replace(/,/g, "")) > lines / 2);
  t.diagnostic(
    `${await found()} matches, all of them, ${Date.now() - begun} ms after the first key`,
  );
  await log.scroller.focus();
  await page.keyboard.press("g");
  assert.equal(await page.locator(".log-row").first().getAttribute("aria-rowindex"), "1");
  await page.keyboard.press("G");
  await log.until("the end", ended);
  for (const figures of [wheeled, dragged]) {
    assert.ok(figures.main < 80, inWords("scrolling", figures));
    assert.ok(figures.nodes < 20_000, inWords("scrolling", figures));
  }
  await docker.run("rm", "-f", long);
});

test("a million lines: the newest are all there, each in its place, and found", async () => {
  const other = await browser.page();
  const million = new LogPage(other, hub);
  const flood = await flooded(other);
  await million.open(hostile, "?charts=0");
  await million.until("a stream", () => flood.send);
  const last = await pour(other, flood, 1_001_000);
  await million.until("the end", async () =>
    (await million.messages()).at(-1)?.includes(` ${last} `),
  );
  assert.equal(await million.lines(), 1_000_000);
  const first = last - 999_999;
  const number = async (text) => Number(/(?:request|broken at) (\d+)/.exec(await text)?.[1]);
  await million.scroller.focus();
  await other.keyboard.press("g");
  const top = other.locator(".log-row.current .log-message");
  assert.equal(await number(top.textContent()), first);
  for (const part of [0.25, 0.5, 0.8]) {
    await million.scroller.evaluate((s, part) => s.scrollTo({ top: s.scrollHeight * part }), part);
    await other.waitForTimeout(300);
    const shown = await Promise.all((await million.messages()).map(number));
    assert.deepEqual(
      shown,
      shown.map((_, i) => shown[0] + i),
      "each after the one before",
    );
    assert.ok(Math.abs((shown[0] - first) / 1e6 - part) < 0.01, `${shown[0]} at ${part}`);
  }
  // So many are written into their file bit by bit; the file lies in the page's own folder here.
  await other.evaluate(() => {
    window.writes = 0;
    window.showSaveFilePicker = async ({ suggestedName }) => {
      const folder = await navigator.storage.getDirectory();
      const handle = await folder.getFileHandle(suggestedName, { create: true });
      const out = await handle.createWritable();
      const write = (text) => ((window.writes += 1), out.write(text));
      window.saved = handle;
      return { createWritable: async () => ({ write, close: () => out.close() }) };
    };
  });
  await million.scroller.focus();
  await other.keyboard.press("d");
  await other.getByText("Saved", { exact: true }).waitFor({ timeout: 60_000 });
  const file = await other.evaluate(async () => {
    const text = await (await window.saved.getFile()).text();
    let requests = 0;
    for (let at = 0; (at = text.indexOf(" of user u", at) + 1) > 0;) requests += 1;
    return { name: window.saved.name, requests, writes: window.writes };
  });
  assert.match(file.name, /^hostile-.*\.log$/);
  assert.ok(file.writes > 100, `${file.writes} writes`);
  assert.equal(file.requests, 998_000);
  const found = () => million.at("log-matches").textContent();
  await other.keyboard.press("/");
  await other.keyboard.type("/\\b\\d*00777 of user/");
  await million.until("all matches", async () => (await found()) === "10", 30_000);
  // From this the browser's own engine would not come back.
  flood.send({
    streamId: flood.streamId,
    logs: [{ ...line(flood.seq + 1, Date.now()), message: "x".repeat(100_000) }],
    timestamp: Date.now(),
  });
  await other.keyboard.press("Control+A");
  await other.keyboard.type("/(x+x+)+y/");
  await million.until("an end", async () => /^0\??$/.test(await found()), 30_000);
  page.problems.push(...other.problems);
  await other.close();
});

test("nothing went wrong in the page", () => {
  const expected = /Failed to load resource|WebSocket connection|ERR_CONNECTION/;
  assert.deepEqual(
    page.problems.filter((problem) => !expected.test(problem)),
    [],
  );
});
