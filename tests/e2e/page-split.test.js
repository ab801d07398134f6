// Logs side by side, and how much is written by whom, in a real browser with real containers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import path from "node:path";
import { Browser, OUT } from "./fixtures/browser.js";
import { Docker } from "./fixtures/docker.js";
import { Hub } from "./fixtures/hub.js";
import { LogPage, script } from "./fixtures/logs.js";

let docker, hub, browser, page, log, uuid, web, db, loud;

const counting = (name, pause) =>
  `i=0; while :; do i=$((i+1)); echo "INFO ${name} $i"; [ $((i%4)) = 0 ] && echo "WARN ${name} slow $i"; sleep ${pause}; done`;

const LOUD = `i=0; while [ $i -lt 100 ]; do i=$((i+1)); echo "INFO request $i was answered with the usual answer, and then some"; done >/lines
while :; do cat /lines; sleep 0.3; done`;

const project = (name, service) => [
  ...["--label", `com.docker.compose.project=${name}`],
  ...["--label", `com.docker.compose.service=${service}`],
];

before(async () => {
  docker = await Docker.start();
  web = await script(docker, "web", counting("web", 0.2), ...project("shop", "web"));
  db = await script(docker, "db", counting("db", 0.3), ...project("shop", "db"));
  loud = await script(docker, "loud", LOUD);
  hub = await Hub.start({ docker });
  const client = await hub.client(await hub.token());
  uuid = await hub.deviceUuid(client);
  client.close();
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

const panes = () => page.getByTestId("split-pane");
const side = (...addresses) =>
  `${hub.url}/split?${new URLSearchParams(addresses.map((one) => ["log", one]))}`;
const messages = (pane) =>
  panes().nth(pane).locator(".log-row:not(.log-mark) .log-message").allTextContents();

/** The address of the log in a pane, as the page's own address has it. */
const address = (pane) => new URL(page.url()).searchParams.getAll("log")[pane];

test("the noisiest logs first, with their figures; a container's beside it", async () => {
  await page.goto(`${hub.url}/logs`);
  const rows = page.getByTestId("volume-row");
  await log.until("three rows", async () => (await rows.count()) === 3);
  await log.until(
    "the loud one first, with its figures",
    async () =>
      (await rows.first().getAttribute("data-container")) === loud &&
      /loud.*[1-9]\d* ?\/s.*kB\/s/s.test(await rows.first().textContent()),
    30_000,
  );
  assert.match(
    await log.at("volume-total").textContent(),
    /^3 logs followed · .*\/s lines · .*B\/s$/,
  );
  await rows.first().locator("a.log").click();
  await log.at("container-name").filter({ hasText: "loud" }).waitFor();
  await log.at("log-volume").waitFor({ timeout: 15_000 });
  await log.until("figures", async () =>
    /[\d.]+ ?\/s lines\s+[\d.]+ ?kB\/s\s+0 dropped/.test(await log.at("log-volume").textContent()),
  );
});

test("containers by project; several chosen by keyboard, set side by side", async () => {
  await page.goto(`${hub.url}/device/${uuid}`);
  await log.at("container-name").first().waitFor();
  const heads = await page.locator("tr.project").allTextContents();
  assert.deepEqual(
    heads.map((text) => text.replace(/\s+/g, " ").trim()),
    ["shop 2 containers all logs"],
  );
  assert.match(await log.at("project-logs").getAttribute("href"), /^\/logs\/project:.*%2Fshop$/);
  assert.equal(await log.at("device-logs").getAttribute("href"), `/logs/device:${uuid}`);
  await log.until("what is logged", async () =>
    /[1-9]\d* ?\/s/.test(await page.locator(`[data-container="${loud}"]`).textContent()),
  );
  // loud, db, web: the order of the table.
  for (const key of ["j", "j", "x", "j", "x"]) await page.keyboard.press(key);
  assert.equal(await log.at("chosen").textContent(), "2 containers chosen");
  assert.deepEqual(new URL(page.url()).searchParams.getAll("on"), [db, web]);
  assert.equal(
    await log.at("chosen-together").getAttribute("href"),
    `/logs/containers:${db},${web}`,
  );
  await log.at("chosen-split").click();
  await log.until("two logs", async () => (await panes().count()) === 2);
  await log.until("lines of both", async () => {
    const [left, right] = [await messages(0), await messages(1)];
    return left.some((text) => / db /.test(text)) && right.some((text) => / web /.test(text));
  });
  assert.deepEqual([address(0), address(1)], [`/container/${db}`, `/container/${web}`]);
});

test("each has filters of its own, kept in the address; keys go to one", async () => {
  await page.keyboard.press("]");
  await log.until("the second one", async () =>
    panes()
      .nth(1)
      .evaluate((pane) => pane.contains(document.activeElement)),
  );
  await page.keyboard.press("4");
  await log.until("only warnings there", async () => {
    const shown = await messages(1);
    return shown.length > 0 && shown.every((text) => /slow/.test(text));
  });
  assert.ok((await messages(0)).some((text) => /INFO db/.test(text)));
  assert.equal(address(1), `/container/${web}?level=warn`);
  await page.goto(page.url());
  await log.until("the same by the address", async () => {
    const shown = await messages(1);
    return shown.length > 0 && shown.every((text) => /slow/.test(text));
  });
  assert.equal(new URL(page.url()).searchParams.get("pane"), "1");
  await page.screenshot({ path: path.join(OUT, "split-light.png") });
});

test("another one is chosen by name, and one is closed", async () => {
  await page.keyboard.press("s");
  await page.getByTestId("palette").waitFor();
  await page.keyboard.type("loud");
  await log.until("the loud one", async () =>
    /^loud/.test(await page.locator("[role=option]").first().textContent()),
  );
  await page.keyboard.press("Enter");
  await log.until("three", async () => (await panes().count()) === 3);
  assert.equal(address(2), `/container/${loud}`);
  await log.until("its lines", async () => (await messages(2)).some((text) => /usual/.test(text)));
  // One that is there is gone to, not opened twice.
  await page.keyboard.press("s");
  await page.getByTestId("palette").waitFor();
  await page.keyboard.type("db");
  await log.until("the one that is there", async () =>
    /^db/.test(await page.locator("[role=option]").first().textContent()),
  );
  await page.keyboard.press("Enter");
  await page.getByTestId("palette").waitFor({ state: "detached" });
  assert.equal(await panes().count(), 3);
  await log.until("it", async () =>
    panes()
      .nth(0)
      .evaluate((pane) => pane.contains(document.activeElement)),
  );
  await page.keyboard.press("[");
  await log.until("around the end", () =>
    panes()
      .nth(2)
      .evaluate((pane) => pane.contains(document.activeElement)),
  );
  await page.keyboard.press("x");
  await log.until("two again", async () => (await panes().count()) === 2);
  assert.deepEqual([address(0), address(1)], [`/container/${db}`, `/container/${web}?level=warn`]);
});

test("what is pointed at in one is marked in the other, which goes there on request", async () => {
  await page.goto(side(`/container/${db}`, `/container/${web}`));
  await log.until(
    "many lines",
    async () => {
      const counts = await page.getByTestId("log-lines").allTextContents();
      return counts.length === 2 && counts.every((text) => parseInt(text) > 60);
    },
    40_000,
  );
  const row = panes().nth(0).locator(".log-row").nth(30);
  await row.hover();
  await panes().nth(1).locator(".log-row.near").first().waitFor();
  await row.locator(".log-message").click();
  await page.keyboard.press("g");
  await page.keyboard.press("j");
  const time = await panes().nth(0).locator(".log-row.current time").getAttribute("title");
  await page.keyboard.press("=");
  const there = panes().nth(1).locator(".log-row.current time");
  await there.waitFor();
  const apart =
    Date.parse((await there.getAttribute("title")).slice(0, 23)) - Date.parse(time.slice(0, 23));
  assert.ok(apart >= 0 && apart < 2_000, `${apart} ms`);
  assert.equal(await page.getByTestId("log-paused").count(), 2);
  // Ids of rows are of one log each.
  const ids = await page.locator(".log-row").evaluateAll((rows) => rows.map(({ id }) => id));
  assert.equal(new Set(ids).size, ids.length);
});

test("on a phone one at a time; two closed to one is that log alone", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const colorScheme of ["dark", "light"]) {
    await page.emulateMedia({ colorScheme });
    await page.goto(side(`/container/${db}`, `/container/${web}`));
    await log.until("lines", async () => (await messages(0)).length > 5);
    assert.deepEqual(
      [await panes().nth(0).isVisible(), await panes().nth(1).isVisible()],
      [true, false],
    );
    await page.getByTestId("split-tab").filter({ hasText: "web" }).click();
    await log.until("the other's lines", async () =>
      (await messages(1)).some((text) => / web /.test(text)),
    );
    assert.deepEqual(
      [await panes().nth(0).isVisible(), await panes().nth(1).isVisible()],
      [false, true],
    );
    const wider = await page.evaluate(
      () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
    );
    assert.ok(wider <= 0, `${wider} px too wide`);
    await page.screenshot({ path: path.join(OUT, `split-390-${colorScheme}.png`) });
  }
  await page.keyboard.press("x");
  await page.waitForURL(`${hub.url}/container/${db}`);
  await page.goto(`${hub.url}/logs`);
  await page.getByTestId("volume-row").first().waitFor();
  await page.screenshot({ path: path.join(OUT, "volume-390.png") });
});

test("nothing went wrong in the page", () => assert.deepEqual(page.problems, []));
