// Hosts on the page: added by a form that tries them, on a real sshd and in a real browser.
import assert from "node:assert/strict";
import path from "node:path";
import { after, before, test } from "node:test";
import { Browser, OUT } from "./fixtures/browser.js";
import { Hub } from "./fixtures/hub.js";
import { Process } from "./fixtures/process.js";
import { Sshd } from "./fixtures/sshd.js";

let browser;
let hub;
let page;
let sshd;

before(async () => {
  sshd = await Sshd.start();
  hub = await Hub.start();
  browser = await Browser.start();
  page = await browser.page();
  await page.goto(hub.link);
  await page.getByRole("link", { name: "Hosts" }).click();
});

after(async () => {
  await browser?.stop();
  await hub?.stop();
  await sshd?.stop();
});

const steps = async () => {
  const found = page.getByTestId("steps").locator("li");
  const states = await found.evaluateAll((lines) =>
    lines.map((line) => [line.dataset.step, line.dataset.state]),
  );
  return Object.fromEntries(states);
};

const shot = (name) => page.screenshot({ path: path.join(OUT, `${name}.png`), fullPage: true });

test("a host is tried step by step, its key looked at, and then it is live", async () => {
  await page.getByRole("heading", { name: "Hosts" }).waitFor();
  await page.keyboard.press("a");
  await page.getByLabel("Address").fill(sshd.address);
  const line = await page.getByTestId("hub-key").textContent();
  assert.match(line, /^restrict,port-forwarding ssh-ed25519 /);
  await sshd.authorize(`${line}\n`);

  await page.getByRole("button", { name: "Test" }).click();
  const question = page.getByTestId("key-question");
  await question.waitFor();
  assert.ok((await question.textContent()).includes(sshd.fingerprint));
  const before = await steps();
  assert.deepEqual([before.connect, before["host-key"]], ["ok", "failed"]);
  assert.equal(before["sign-in"] === "ok", false, "nothing is said to a host that nobody knows");
  await shot("add-host-key");

  await page.getByRole("button", { name: "trust it" }).click();
  await page.locator('li[data-step="metrics"][data-state="ok"]').waitFor();
  const tried = await steps();
  assert.deepEqual([tried["sign-in"], tried.shell], ["ok", "ok"]);
  await page.locator('li[data-step="docker"]:not([data-state=""])').waitFor();
  await shot("add-host-tested");

  await page.getByText("Name, tags, group, jump hosts").click();
  await page.getByLabel("Name", { exact: true }).fill("<img src=x onerror=alert(1)>");
  await page.getByLabel("Tags").fill("web, <b>eu</b>");
  await page.getByLabel("Group").fill("$(reboot)");
  await page.getByRole("button", { name: /^Add/ }).click();
  await page.waitForURL(/\/device\//);
  await page.getByRole("heading", { level: 1 }).waitFor();
  assert.equal(await page.locator("img, main b").count(), 0, "names are texts");
});

test("the list shows it live, and who added it", async () => {
  await page.getByRole("link", { name: "Hosts" }).click();
  const row = page.getByTestId("hosts").locator("tr", { hasText: "onerror" });
  await row.getByText("online").waitFor();
  assert.ok((await row.textContent()).includes("$(reboot)"));
  await page.getByTestId("audit").getByText("device.add").first().waitFor();
  assert.equal(await page.locator("img, main b").count(), 0);
  for (const [width, theme] of [
    [1440, "light"],
    [390, "dark"],
  ]) {
    await page.setViewportSize({ width, height: 844 });
    await page.evaluate((name) => (document.documentElement.dataset.theme = name), theme);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${wide} at ${width}`);
    await shot(`hosts-${width}-${theme}`);
  }
  await page.setViewportSize({ width: 1440, height: 900 });
});

test("it is changed, tried again when its key has changed, removed and purged", async () => {
  await page.getByTestId("hosts").getByRole("link", { name: "onerror" }).click();
  const form = page.getByTestId("edit-host");
  await form.getByLabel("Name").fill("plain");
  await form.getByLabel("Group").fill("");
  await form.getByRole("button", { name: "Save" }).click();
  await page.getByText("it holds from now on").waitFor();
  await page.getByRole("heading", { name: "plain" }).waitFor();

  await sshd.kill();
  const old = sshd.fingerprint;
  await sshd.newHostKey();
  await sshd.up();
  await form.getByRole("button", { name: "Test" }).click();
  const question = page.getByTestId("key-question");
  await question.getByText("Its key has changed").waitFor();
  const text = await question.textContent();
  assert.ok(text.includes(old) && text.includes(sshd.fingerprint), text);
  await question.getByRole("button", { name: "trust it" }).click();
  await page.locator('li[data-step="metrics"][data-state="ok"]').waitFor();

  // Who looks at the fleet meanwhile sees it go.
  const fleet = await browser.page();
  await fleet.goto(hub.url);
  const line = fleet.getByTestId("fleet-row").filter({ hasText: "plain" });
  await line.waitFor();
  await form.getByRole("button", { name: "Remove" }).click();
  await line.waitFor({ state: "detached" });
  assert.deepEqual(fleet.problems, []);
  await fleet.close();
  await page.getByRole("button", { name: "Purge" }).click();
  await page.waitForURL(/\/hosts$/);
  await page.getByTestId("hosts").waitFor();
  assert.equal(await page.getByTestId("hosts").getByText("plain").count(), 0);
});

test("an agent's command is made, its host seen to come, and its key revoked", async () => {
  await page.goto(`${hub.url}/hosts`);
  await page.getByTestId("hosts").waitFor();
  await page.keyboard.press("a");
  await page.getByLabel("By an agent").check();
  const form = page.getByTestId("add-by-agent");
  await form.getByLabel("Tags").fill("edge");
  await form.getByLabel("Group").fill("eu");
  await form.getByRole("button", { name: "Make the command" }).click();
  const command = await page.getByTestId("agent-command").textContent();
  const [, token, url] =
    /^KOBEL_TOKEN=(kobel_enroll_\S+) kobel agent --hub (\S+)$/.exec(command) ?? [];
  assert.equal(url, hub.url, command);
  await page.getByText("As a service of systemd").click();
  assert.match(await page.getByTestId("agent-service").textContent(), /kobel agent install --hub/);
  for (const width of [1440, 390]) {
    await page.setViewportSize({ width, height: 844 });
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= width, `${wide} at ${width}`);
    await shot(`add-agent-${width}`);
  }
  await page.setViewportSize({ width: 1440, height: 900 });

  // As somebody would who pastes it.
  const args = ["agent", "--hub", url, "--docker", "off", "--name", "<b>far</b>"];
  const env = { PATH: process.env.PATH, HOME: path.join(hub.dir, "agent"), KOBEL_TOKEN: token };
  const agent = new Process("agent", hub.binary, args, { env });
  try {
    const came = page.getByTestId("came").getByRole("link");
    await came.waitFor();
    assert.equal(await came.textContent(), "<b>far</b>");
    const uuid = (await came.getAttribute("href")).split("/").at(-1);
    await came.click();
    await page.getByRole("heading", { name: "<b>far</b>" }).waitFor();
    assert.equal(await page.locator("main b").count(), 0);

    await page.goto(`${hub.url}/hosts/${uuid}`);
    await page.getByRole("button", { name: "Revoke its agent's key" }).click();
    await page.getByText("Its agent is out").waitFor();
    await agent.ended;
    assert.equal(agent.child.exitCode, 77, agent.output);
    await page
      .getByRole("button", { name: "Revoke its agent's key" })
      .waitFor({ state: "detached" });
  } finally {
    await agent.stop();
  }
});

test("nothing went wrong in the page", () => {
  assert.deepEqual(page.problems, []);
});
