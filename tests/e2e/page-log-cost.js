// What a log of a million lines costs a browser: moved in by wheel, by the scrollbar and by key,
// looked through as somebody types. `node page-log-cost.js [lines]` prints the figures.
import { Browser } from "./fixtures/browser.js";
import { cost, inWords } from "./fixtures/cost.js";
import { Docker } from "./fixtures/docker.js";
import { flooded, pour } from "./fixtures/flood.js";
import { Hub } from "./fixtures/hub.js";
import { LogPage, script } from "./fixtures/logs.js";

const [lines = 1_000_000] = process.argv.slice(2).map(Number);

/** The page's heap and the memory of its typed arrays, after a collection of garbage. */
async function memory(page) {
  const session = await page.context().newCDPSession(page);
  await session.send("HeapProfiler.collectGarbage");
  const { usedSize, backingStorageSize = 0 } = await session.send("Runtime.getHeapUsage");
  await session.detach();
  const mib = (bytes) => `${(bytes / 2 ** 20).toFixed(0)} MiB`;
  return `${mib(usedSize)} of heap, ${mib(backingStorageSize)} of arrays`;
}

let docker, hub, browser;
try {
  docker = await Docker.start();
  const quiet = await script(docker, "quiet", "echo begin; sleep 100000");
  hub = await Hub.start({ docker });
  browser = await Browser.start();
  const page = await browser.page();
  const log = new LogPage(page, hub);
  const flood = await flooded(page);
  await page.goto(hub.link);
  await page.getByTestId("fleet-row").waitFor();
  await log.open(quiet, "?charts=0");
  await log.until("a stream", () => flood.send);

  let begun = Date.now();
  const taking = await cost(page, 1, async () => {
    await pour(page, flood, lines);
    await log.until("all lines", async () => (await log.lines()) >= Math.min(lines, 1e6), 120_000);
  });
  console.log(inWords(`${lines} lines taken in ${Date.now() - begun} ms`, taking));

  console.log(`  memory after a collection of garbage: ${await memory(page)}`);
  const box = await log.scroller.boundingBox();
  const watch = async (what, seconds, act) =>
    console.log(inWords(what, await cost(page, seconds, act)));
  await page.mouse.move(box.x + 300, box.y + 100);
  await watch("the wheel", 5, async () => {
    for (let i = 0, end = Date.now() + 5_000; Date.now() < end; i += 1) {
      await page.mouse.wheel(0, Math.floor(i / 40) % 2 === 0 ? -600 : 600);
      await page.waitForTimeout(33);
    }
  });
  await watch("the scrollbar dragged over all of them", 4, async () => {
    for (let i = 0; i < 60; i += 1) {
      await log.scroller.evaluate((s, i) => s.scrollTo({ top: (s.scrollHeight * i) / 60 }), i);
      await page.waitForTimeout(50);
    }
  });
  await log.scroller.focus();
  await watch("first line, last line, by key", 3, async () => {
    for (let i = 0; i < 10; i += 1) {
      await page.keyboard.press(i % 2 ? "G" : "g");
      await page.waitForTimeout(200);
    }
  });
  const finding = async (what, seconds = 6) => {
    await page.keyboard.press("/");
    await page.keyboard.press("Control+A");
    begun = Date.now();
    let took;
    await watch(`looking for ${what}`, seconds, async () => {
      await page.keyboard.type(what, { delay: 60 });
      await log.until(
        "an end",
        async () => !/…/.test(await log.at("log-matches").textContent()),
        60_000,
      );
      took = Date.now() - begun;
    });
    console.log(`  ${await log.at("log-matches").textContent()} matches after ${took} ms`);
  };
  await finding("usual answer");
  await finding("/user u9\\d\\d.* in 8[0-2] ms/");
  await finding("/(a+)+$/");
  await finding("nothing that is there");
  await log.scroller.focus();
  await page.keyboard.press("Escape");
  await watch("wrapped and not, four times", 4, async () => {
    for (let i = 0; i < 4; i += 1) {
      await page.keyboard.press("w");
      await page.waitForTimeout(700);
    }
  });
  await watch("following 1,000 lines a second", 8, async () => {
    await page.keyboard.press("G");
    for (let i = 0; i < 80; i += 1) {
      await pour(page, flood, 100);
      await page.waitForTimeout(100);
    }
  });
} finally {
  await browser?.stop();
  await hub?.stop();
  await docker?.stop();
}
