// Several logs in one, in a real browser with real containers; some are named to do harm.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Browser } from "./fixtures/browser.js";
import { Docker } from "./fixtures/docker.js";
import { Hub } from "./fixtures/hub.js";
import { LogPage, script } from "./fixtures/logs.js";

let docker, hub, browser, page, log, uuid;
let dialogs = 0;

const HARM = '"><img src=x onerror=alert(1)><script>alert(2)</script>';

const counting = (name, line = "") =>
  `i=0; while :; do i=$((i+1)); echo "INFO ${name} $i${line}"; sleep 0.2; done`;

const labelled = (project, service) => [
  ...["--label", `com.docker.compose.project=${project}`],
  ...["--label", `com.docker.compose.service=${service}`],
];

before(async () => {
  docker = await Docker.start();
  await script(docker, "web", counting("web"), ...labelled("shop", "web"));
  await script(docker, "db", counting("db"), ...labelled("shop", "db"));
  // A bell, a colour, a title and a link of a terminal; a turn of the reading direction.
  const tricks = "\x07\x1b[31m\x1b]0;owned\x07\x1b]8;;https://evil.example\x07x\x1b]8;;\x07\u202e";
  const lines = `echo '${HARM}${tricks}'; ${counting("harm", "</script>")}`;
  await script(docker, "harm", lines, ...labelled(HARM, HARM));
  hub = await Hub.start({ docker });
  const client = await hub.client(await hub.token());
  uuid = await hub.deviceUuid(client);
  client.close();
  await hub.cli("device", "edit", uuid, "--name", "<img src=x onerror=alert(3)>");
  browser = await Browser.start();
  page = await browser.page();
  page.on("dialog", (dialog) => {
    dialogs += 1;
    dialog.dismiss();
  });
  log = new LogPage(page, hub);
  await page.goto(hub.link);
  await page.getByTestId("fleet-row").waitFor();
});

after(async () => {
  await browser?.stop();
  await hub?.stop();
  await docker?.stop();
});

const messages = () => page.locator(".log-row:not(.log-mark) .log-message").allTextContents();

test("a project's logs in one; a member is left out and comes back; a new one joins", async () => {
  await page.goto(`${hub.url}/device/${uuid}`);
  await page.locator("tr.project a", { hasText: "all logs" }).last().click();
  await log.at("logs-name").waitFor();
  const has = (name) => async () => (await messages()).some((line) => line.includes(`${name} `));
  await log.until("lines of both", async () => (await has("web")()) && (await has("db")()));
  assert.equal(await log.at("log-member").count(), 2);
  const of = (name) => log.at("log-member").filter({ hasText: name });
  await of("db").click();
  await log.until("no lines of db", async () => !(await has("db")()) && (await has("web")()));
  await of("db").click();
  await log.until("lines of both", async () => (await has("web")()) && (await has("db")()));
  await script(docker, "queue", counting("queue"), ...labelled("shop", "queue"));
  await log.until("lines of the new one", has("queue"));
  assert.equal(await log.at("log-member").count(), 3);
});

test("names, labels and lines that would do harm are shown as they are", async () => {
  for (const path of ["/", `/device/${uuid}`, `/logs/device:${uuid}`, "/logs", "/search"]) {
    await page.goto(hub.url + path);
    if (path.startsWith("/logs/")) {
      await log.until("the line", async () =>
        (await messages()).some((l) => l.includes("</script>")),
      );
    }
    // What a handler does it does at once; the lists come with the first answers.
    await page.waitForLoadState("networkidle").catch(() => {});
    await page.locator("main, .view").first().waitFor();
    const made = await page.evaluate(() => ({
      images: document.querySelectorAll("img").length,
      scripts: [...document.scripts].filter((script) => !script.src).length,
      links: [...document.links].filter((link) => link.host !== location.host).length,
      title: document.title,
    }));
    assert.deepEqual({ ...made, title: "" }, { images: 0, scripts: 0, links: 0, title: "" }, path);
    assert.doesNotMatch(made.title, /owned/);
  }
  assert.equal(dialogs, 0);
  assert.deepEqual(page.problems, []);
});
