// The hub's own figures: the room system:main, and the page that draws it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import path from "node:path";
import { Browser, OUT } from "./fixtures/browser.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";

let hub, admin, viewer, browser, page;
const sockets = [];

const SYSTEM = { type: "system" };

before(async () => {
  hub = await Hub.start();
  admin = await hub.token("system", "--role", "admin");
  viewer = await hub.token("viewer");
  browser = await Browser.start();
});

after(async () => {
  for (const socket of sockets) socket.disconnect();
  await browser?.stop();
  await hub?.stop();
});

async function client(token, options = { transports: ["websocket"] }) {
  const socket = await hub.client(token, options);
  sockets.push(socket);
  return socket;
}

const totals = (by) => Object.values(by).reduce((sum, { total }) => sum + total, 0);

test("figures come each second, in one line, and agree with each other", async () => {
  const socket = await client(admin);
  const initial = await subscribe(socket, SYSTEM);
  assert.deepEqual([initial.type, initial.id], ["system", "main"]);
  assert.equal(initial.answer.room, "system:main");
  const heard = [];
  socket.on("system", (envelope) => heard.push(envelope));
  await next(socket, "system", ({ seq }) => seq >= initial.seq + 3);
  heard.forEach(({ room, event, epoch, seq }, i) => {
    assert.deepEqual([room, event, epoch], ["system:main", "system", initial.epoch]);
    assert.equal(seq, initial.seq + 1 + i);
  });
  const [first, second] = heard.map(({ data }) => data);
  const apart = Date.parse(second.sampledAt) - Date.parse(first.sampledAt);
  assert.ok(apart > 500 && apart < 2_500, `${apart} ms apart`);
  for (const { data } of heard) {
    assert.equal(data.totalConnections, 1);
    assert.deepEqual(data.connectionsByNamespace, { "/": 1 });
    assert.deepEqual(data.clientDistribution.byTransport, { polling: 0, websocket: 1 });
    assert.equal(data.clientDistribution.byRoomType.system, 1);
    assert.ok(data.interval > 0.5 && data.interval < 5, `over ${data.interval} s`);
    assert.ok(data.uptime > 0 && data.uptime < 600);
    assert.match(data.version, /^\d+\.\d+\.\d+/);
    assert.equal(data.errorRate, 0);
    assert.equal(data.backlogBytes, 0);
    assert.ok(data.process.cpu >= 0 && data.process.cpu < 400, `cpu ${data.process.cpu}`);
    assert.ok(data.process.openFiles > 5 && data.process.threads >= 2);
    const rss = (await hub.memory()) / data.process.memoryBytes;
    assert.ok(rss > 0.5 && rss < 2, `memory is off by ${rss}`);
  }
  // Its own event of a second is traffic, too.
  assert.ok(heard[2].data.messagesPerSecond.out > 0);
  assert.ok(heard[2].data.averageMessageSize.out > 500);
  assert.ok(heard[2].data.topEvents.some((e) => e.event === "system" && e.direction === "out"));
  const { p50, p99 } = heard[2].data.delivery;
  assert.ok(p50 > 0 && p50 <= p99 && p99 < 1, `delivered in ${p50} s, ${p99} s`);
  assert.match(await hub.metrics(), /^websocket_subscriptions_active\{type="system"\} 1$/m);
  socket.disconnect();
});

test("what the test does is in the figures", async () => {
  const watcher = await client(admin);
  const { seq } = await subscribe(watcher, SYSTEM);
  // The room's state may be from before the last test's socket left.
  const before = (await next(watcher, "system", (envelope) => envelope.seq >= seq + 2)).data;
  assert.equal(before.totalConnections, 1);
  // Every figure from here on, and what was sent in them.
  let [activities, messages] = [0, 0];
  watcher.on("system", ({ data }) => {
    const found = data.topEvents.find((e) => e.event === "activity" && e.direction === "in");
    activities += (found?.perSecond ?? 0) * data.interval;
    messages += data.messagesPerSecond.in * data.interval;
  });
  const until = (when) => next(watcher, "system", ({ data }) => when(data));

  const twenty = await Promise.all(
    Array.from({ length: 20 }, (_, i) =>
      client(viewer, { transports: [i < 5 ? "polling" : "websocket"] }),
    ),
  );
  for (const socket of twenty) await subscribe(socket, { type: "dashboard" });
  for (let n = 0; n < 10; n++) {
    await Promise.all(
      twenty.map((s) => s.timeout(5_000).emitWithAck("activity", { visible: true })),
    );
  }
  const full = (await until((d) => d.totalConnections === 21)).data;
  assert.deepEqual(full.connectionsByNamespace, { "/": 21 });
  assert.deepEqual(full.clientDistribution.byTransport, { polling: 5, websocket: 16 });
  assert.equal(full.clientDistribution.byRoomType.dashboard, 20);
  assert.equal(Math.round(activities), 200);
  assert.equal(Math.round(messages), 220);

  // One breaks the protocol, five leave.
  twenty[19].io.engine.send("no packet");
  for (const socket of twenty.slice(5, 10)) socket.disconnect();
  const left = (await until((d) => d.totalConnections === 15)).data;
  assert.equal(totals(left.closed) - totals(before.closed), 6);
  assert.equal(left.closed.protocol.total, 1);
  assert.equal(left.errors.protocol.total, 1);
  for (const socket of twenty) socket.disconnect();
  await until((d) => d.totalConnections === 1);
  watcher.disconnect();
});

test("the minutes before are there at once; a position is resumed or is a gap", async () => {
  const socket = await client(admin);
  const { data, epoch, seq } = await subscribe(socket, SYSTEM);
  const { t, ...series } = data.recent;
  assert.ok(t.length >= 5, `${t.length} points`);
  assert.ok(t.every((at, i) => i === 0 || at > t[i - 1]));
  for (const [name, column] of Object.entries(series)) {
    assert.equal(column.length, t.length, name);
  }
  // Both are as they were while nobody looked.
  assert.equal(Math.max(...series.connections), 21);
  assert.ok(series.memory.at(-1) > 1e6);
  assert.ok(data.system.sampledAt.startsWith(new Date(t.at(-1)).toISOString().slice(0, 19)));
  socket.disconnect();

  const again = await client(admin);
  const resume = (since) =>
    again.timeout(5_000).emitWithAck("subscribe", { ...SYSTEM, options: { since } });
  const old = next(again, "initialData");
  assert.equal((await resume({ epoch, seq: seq - 1 })).resumed, false);
  const state = await old;
  assert.equal(state.gap, true);
  // The newest may change between the two: then it is a gap, and the next try will do.
  let position = { epoch, seq: state.seq };
  let answer;
  for (let n = 0; n < 5 && !answer?.resumed; n++) {
    answer = await resume(position);
    position = { epoch, seq: answer.seq };
  }
  assert.equal(answer.resumed, true);
  again.disconnect();
});

test("a viewer is refused, and hears nothing", async () => {
  const socket = await client(viewer);
  const error = next(socket, "error");
  let heard = 0;
  for (const event of ["system", "initialData"]) socket.on(event, () => (heard += 1));
  const answer = await socket.timeout(5_000).emitWithAck("subscribe", SYSTEM);
  assert.deepEqual(answer, {
    ok: false,
    error: { code: "UNAUTHORIZED", message: "Insufficient permissions" },
  });
  assert.deepEqual(await error, {
    code: "UNAUTHORIZED",
    message: "Insufficient permissions",
    type: "system",
    id: "main",
  });
  const watcher = await client(admin);
  await subscribe(watcher, SYSTEM);
  await next(watcher, "system");
  await next(watcher, "system");
  assert.equal(heard, 0);
  socket.disconnect();
  watcher.disconnect();
});

const at = (id) => page.getByTestId(id);

/** The text of an element, as soon as `when` holds for it. */
async function text(id, when, ms = 10_000) {
  const end = Date.now() + ms;
  for (;;) {
    const now = (await at(id).first().textContent({ timeout: ms })).replace(/\s+/g, " ");
    if (when(now)) return now;
    assert.ok(Date.now() < end, `${id} stays ${JSON.stringify(now)}`);
    await page.waitForTimeout(50);
  }
}

test("the page is an instrument: full at once, and it moves", async () => {
  page = await browser.page();
  await page.goto(hub.link);
  await at("fleet-row").waitFor();
  await page.getByRole("link", { name: "System" }).click();
  await page.waitForURL(/\/system$/);
  await text("system-connections", (t) => Number(t) >= 1);
  assert.equal(await at("chart").count(), 8);
  // Drawn from what the hub remembers: more than the line of the seconds since we came.
  const first = await page.locator("[data-series=memory] canvas").evaluate((canvas) => {
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    return data.some((value) => value !== 0);
  });
  assert.ok(first, "nothing is drawn");

  const twenty = await Promise.all(Array.from({ length: 20 }, () => client(viewer)));
  await Promise.all(twenty.map((socket) => subscribe(socket, { type: "dashboard" })));
  await text("system-connections", (t) => Number(t) === 21);
  // Twenty dashboards of one device: about as many messages a second.
  await text("system-messages", (t) => Number(t.match(/([\d.]+)\/s ?$/)?.[1]) > 10);
  await text("system-events", (t) => t.includes("batchUpdate"));
  for (const socket of twenty.slice(10)) socket.disconnect();
  await text("system-connections", (t) => Number(t) === 11);
  await text("system-closed", (t) => /transport|client/.test(t));
  await page.waitForTimeout(2_000);
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.waitForTimeout(1_200);
    await page.screenshot({ path: path.join(OUT, `system-${scheme}.png`) });
  }
  await page.getByRole("button", { name: "Show as table" }).click();
  await at("chart-table").getByRole("cell").first().waitFor();
  await page.getByRole("button", { name: "Show charts" }).click();
});

test("390 pixels: nothing is cut off", async () => {
  await page.setViewportSize({ width: 390, height: 844 });
  for (const scheme of ["light", "dark"]) {
    await page.emulateMedia({ colorScheme: scheme });
    await page.goto(`${hub.url}/system`);
    await text("system-connections", (t) => Number(t) === 11);
    await page.waitForTimeout(1_500);
    for (const of of ["html", "main", "[data-testid=system]"]) {
      const wider = await page.locator(of).evaluate((e) => e.scrollWidth - e.clientWidth);
      assert.ok(wider <= 0, `${of} is ${wider} px too wide`);
    }
    const header = await page
      .locator("header")
      .first()
      .evaluate((e) => e.scrollWidth - e.clientWidth);
    assert.ok(header <= 0, `the top line is ${header} px too wide`);
    await page.screenshot({ path: path.join(OUT, `system-390-${scheme}.png`) });
    await page.getByTestId("system-errors").scrollIntoViewIfNeeded();
    await page.screenshot({ path: path.join(OUT, `system-390-${scheme}-end.png`) });
  }
  await page.setViewportSize({ width: 1440, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
});

test("by Ctrl-K, too", async () => {
  await page.goto(hub.url);
  await at("fleet-row").waitFor();
  await page.keyboard.press("Control+k");
  await at("palette").waitFor();
  await page.keyboard.type("syst");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/system$/);
  await text("system-connections", (t) => Number(t) >= 1);
});

test("a viewer has no link to it, and is told who may", async () => {
  await hub.cli("user", "add", "vera", "--role", "viewer");
  await page.context().clearCookies();
  await page.goto((await hub.cli("user", "link", "vera")).trim());
  await at("fleet-row").waitFor();
  assert.equal(await page.getByRole("link", { name: "System" }).count(), 0);
  await page.goto(`${hub.url}/system`);
  await text("system-refused", (t) => /admin/i.test(t));
  await page.screenshot({ path: path.join(OUT, "system-refused.png") });
  assert.equal(await at("chart").count(), 0);
});

test("nothing went wrong in the page", () => {
  const expected = /Failed to load resource|WebSocket connection|ERR_CONNECTION/;
  assert.deepEqual(
    page.problems.filter((problem) => !expected.test(problem)),
    [],
  );
});
