// Bad input of every kind gets a clear answer, and harms nobody else.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import net from "node:net";
import http from "node:http";
import { after, before, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { request, rawExchange, openSession } from "./fixtures/http.js";

let hub, token, witness;

before(async () => {
  hub = await Hub.start({
    args: ["--max-payload", "20000", "--header-timeout", "1s", "--max-subscriptions", "50"],
  });
  token = await hub.token("hostile");
  // Somebody who looks all the time: nothing below may disturb them.
  witness = await hub.client(token);
  await subscribe(witness, { type: "device", id: await hub.deviceUuid(witness) });
});

after(async () => {
  witness?.disconnect();
  assert.equal(await hub?.stop(), 0);
});

/** The hub still serves: the witness is connected and gets samples. */
async function unharmed() {
  assert.ok(witness.connected, "the witness lost its connection");
  await next(witness, "stats");
}

const connectError = (socket) =>
  new Promise((resolve, reject) => {
    socket.once("connect_error", resolve);
    socket.once("connect", () => reject(new Error("it was let in")));
  });

for (const [what, wrong] of Object.entries({
  none: undefined,
  "an empty one": "",
  "a made-up one": "kobel_1_" + "a".repeat(43),
  "a foreign one": "Bearer x",
  "an enormous one": "kobel_" + "x".repeat(10_000),
})) {
  for (const transports of [["polling"], ["websocket"]]) {
    test(`no or wrong token: ${what}, by ${transports}`, async () => {
      const socket = hub.socket(wrong, { transports });
      const error = await connectError(socket);
      assert.equal(error.data?.code, "UNAUTHORIZED", error.message);
      socket.disconnect();
    });
  }
}

test("auth without a token in it is no credentials", async () => {
  for (const auth of ["{}", '{"token":7}', '{"token":null}', '{"Token":"x"}', '{"token":["x"]}']) {
    const session = await openSession(hub);
    await session.send("40" + auth);
    assert.match(await session.poll(), /^44\{.*"code":"UNAUTHORIZED"/, auth);
  }
});

test("auth that is no object breaks the protocol", async () => {
  for (const auth of ["5", '"x"', "[1]", "{"]) {
    const session = await openSession(hub);
    assert.equal((await session.send("40" + auth)).status, 400, auth);
    assert.match(await session.poll(), /Session ID unknown/);
  }
});

test("no event reaches a socket that is not signed in", async () => {
  const session = await openSession(hub);
  const answer = await session.send('42["subscribe",{"type":"dashboard"}]');
  assert.equal(answer.status, 400);
});

test("foreign Origin: refused with its reason, on every path", async () => {
  const headers = { Origin: "http://evil.example" };
  for (const path of ["/", "/api/v1/session", "/socket.io/?EIO=4&transport=polling", "/metrics"]) {
    const answer = await request(hub, path, { headers });
    assert.equal(answer.status, 403, path);
    assert.equal(answer.json.error.code, "FOREIGN_ORIGIN");
    assert.match(answer.json.error.message, /http:\/\/evil\.example/);
    assert.equal(answer.headers["access-control-allow-origin"], undefined);
  }
  const socket = hub.socket(token, { transports: ["websocket"], extraHeaders: headers });
  await connectError(socket);
  socket.disconnect();
});

test("foreign Host: refused with what to do", async () => {
  for (const host of ["evil.example", `evil.example:${hub.port}`]) {
    const answer = await request(hub, "/api/v1/session", { headers: { Host: host } });
    assert.equal(answer.status, 421);
    assert.equal(answer.json.error.code, "FOREIGN_HOST");
    assert.match(answer.json.error.message, /--allowed-host evil\.example/);
  }
});

test("a session's cookie without an own page's mark is not enough", async () => {
  const cookie = await hub.signIn();
  const open = (headers) => openSession(hub, { Cookie: cookie, ...headers });
  const bare = await open({});
  await bare.send("40");
  assert.match(await bare.poll(), /^44\{.*"code":"UNAUTHORIZED"/);
  const cross = await open({ "Sec-Fetch-Site": "cross-site" });
  await cross.send("40");
  assert.match(await cross.poll(), /^44\{/);
  for (const mark of [{ Origin: hub.url }, { "Sec-Fetch-Site": "same-origin" }]) {
    const own = await open(mark);
    await own.send("40");
    assert.match(await own.poll(), /^40\{"sid":/);
  }
});

test("subscribes that are wrong say what is wrong, by ack and by event", async () => {
  const socket = await hub.client(token);
  const uuid = "0198c0de-0000-7000-8000-0000000000ab";
  for (const [asked, code, says] of [
    [undefined, "BAD_REQUEST", /expected an object/],
    [7, "BAD_REQUEST", /expected an object/],
    ["dashboard", "BAD_REQUEST", /expected an object/],
    [[], "BAD_REQUEST", /expected an object/],
    [{}, "BAD_REQUEST", /^type: missing/],
    [{ type: "planet" }, "BAD_REQUEST", /^type: unknown "planet"/],
    [{ type: "device", id: "no" }, "BAD_REQUEST", /^id: not a UUID/],
    [{ type: "device", id: "a\u0000\u001b[31m\n" }, "BAD_REQUEST", /^id:/],
    [{ type: "device", id: uuid }, "NOT_FOUND", /no such device/],
    [{ type: "container", id: "a".repeat(64) }, "NOT_FOUND", /no such container/],
    [{ type: "dashboard", options: { rate: 0 } }, "BAD_REQUEST", /^options\.rate/],
  ]) {
    const event = next(socket, "error");
    const answer = await socket.timeout(5000).emitWithAck("subscribe", asked);
    assert.equal(answer.ok, false);
    assert.equal(answer.error.code, code, JSON.stringify(asked));
    assert.match(answer.error.message, says);
    const told = await event;
    assert.equal(told.code, code);
    assert.equal(told.message, answer.error.message);
    // eslint-disable-next-line no-control-regex
    assert.doesNotMatch(JSON.stringify(told), /\\u00[01]/);
  }
  const unknown = next(socket, "error");
  socket.emit("drop tables", 1);
  assert.equal((await unknown).code, "BAD_REQUEST");
  // It is not worse off for it.
  await subscribe(socket, { type: "dashboard" });
  socket.disconnect();
});

test("who may not see a device is not told whether it exists", async () => {
  const other = "0198c0de-0000-7000-8000-0000000000ab";
  const narrow = await hub.client(await hub.token("narrow", "--device", other));
  const real = await hub.deviceUuid(witness);
  for (const id of [real, "0198c0de-0000-7000-8000-0000000000ac"]) {
    await assert.rejects(subscribe(narrow, { type: "device", id }), {
      code: "UNAUTHORIZED",
      message: "Insufficient permissions",
    });
  }
  const { data } = await subscribe(narrow, { type: "dashboard" });
  assert.deepEqual(data.devices, []);
  narrow.on("batchUpdate", () => assert.fail("an update of a device that may not be seen"));
  await unharmed();
  narrow.disconnect();
});

test("10,000 subscribes: limited, answered, and the rest goes on", async () => {
  const socket = await hub.client(token, { transports: ["websocket"] });
  const codes = {};
  await new Promise((resolve) => {
    let answered = 0;
    for (let i = 0; i < 10_000; i++) {
      const id = i.toString(16).padStart(64, "0");
      socket.emit("subscribe", { type: "container", id }, ({ ok, error }) => {
        const code = ok ? "ok" : error.code;
        codes[code] = (codes[code] ?? 0) + 1;
        if (++answered === 10_000) resolve();
      });
    }
  });
  assert.ok(codes.RATE_LIMITED > 9_000, JSON.stringify(codes));
  assert.ok(codes.NOT_FOUND >= 90, JSON.stringify(codes));
  await unharmed();
  socket.disconnect();
});

test("more subscriptions than may be: TOO_MANY_SUBSCRIPTIONS", async () => {
  const small = await Hub.start({ args: ["--max-subscriptions", "1"] });
  try {
    const socket = await small.client(await small.token());
    const id = await small.deviceUuid(socket);
    await assert.rejects(subscribe(socket, { type: "device", id }), {
      code: "TOO_MANY_SUBSCRIPTIONS",
    });
    await socket.emitWithAck("unsubscribe", { type: "dashboard" });
    await subscribe(socket, { type: "device", id });
    socket.disconnect();
  } finally {
    await small.stop();
  }
});

test("events at 10,000 a second: refused by the second, not queued", async () => {
  const socket = await hub.client(token, { transports: ["websocket"] });
  const errors = [];
  socket.on("error", (error) => errors.push(error.code));
  const before = await hub.memory();
  const end = Date.now() + 2_000;
  let sent = 0;
  while (Date.now() < end) {
    for (let i = 0; i < 100; i++, sent++) socket.emit("activity", { visible: true });
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(sent >= 10_000, `${sent} sent`);
  await socket.timeout(20_000).emitWithAck("activity", { visible: true });
  // Told, but at most once a second.
  assert.ok(errors.length >= 1 && errors.length <= 5, `${errors.length} errors`);
  assert.deepEqual([...new Set(errors)], ["RATE_LIMITED"]);
  const grown = (await hub.memory()) - before;
  assert.ok(grown < 20e6, `memory grew by ${grown} bytes`);
  await unharmed();
  socket.disconnect();
});

test("a payload over maxPayload: closed with the protocol's words", async () => {
  const session = await openSession(hub);
  assert.equal(session.handshake.maxPayload, 20_000);
  const answer = await session.send("4" + "x".repeat(20_001));
  assert.equal(answer.status, 413);
  assert.equal((await session.request()).status, 400);

  const socket = await hub.client(token, { transports: ["websocket"] });
  const closed = new Promise((resolve) => {
    socket.once("disconnect", (reason, details) => resolve({ reason, details }));
  });
  socket.emit("subscribe", { type: "x".repeat(30_000) });
  const { reason, details } = await closed;
  assert.equal(reason, "transport close");
  assert.equal(details?.context?.code ?? 1009, 1009);
  await unharmed();
});

test("half a handshake left open is ended", async () => {
  for (const half of [
    "GET / HT",
    "GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: localhost\r\n",
  ]) {
    const begun = Date.now();
    await rawExchange(hub, half);
    assert.ok(Date.now() - begun < 5_000);
  }
  await unharmed();
});

test("random bytes: to the port, into a session, into a WebSocket", async () => {
  for (let i = 0; i < 30; i++) await rawExchange(hub, randomBytes(2_000));
  for (let i = 0; i < 30; i++) {
    const session = await openSession(hub);
    const answer = await session.send(randomBytes(500));
    assert.ok([200, 400].includes(answer.status), `${answer.status}`);
  }
  for (let i = 0; i < 30; i++) {
    await new Promise((resolve, reject) => {
      const upgrade = http.request({
        port: hub.port,
        host: "127.0.0.1",
        path: "/socket.io/?EIO=4&transport=websocket",
        headers: {
          Connection: "Upgrade",
          Upgrade: "websocket",
          "Sec-WebSocket-Version": "13",
          "Sec-WebSocket-Key": randomBytes(16).toString("base64"),
        },
      });
      upgrade.on("upgrade", (_, socket) => {
        socket.on("error", () => {});
        socket.on("close", resolve);
        socket.write(randomBytes(5_000));
        socket.resume();
        setTimeout(() => socket.destroy(), 500);
      });
      upgrade.on("error", reject);
      upgrade.end();
    });
  }
  await unharmed();
});

test("connections that say nothing do not keep others out", async () => {
  const idle = Array.from({ length: 200 }, () => net.connect(hub.port, "127.0.0.1"));
  idle.forEach((socket) => socket.on("error", () => {}));
  const socket = await hub.client(token);
  socket.disconnect();
  await unharmed();
  idle.forEach((socket) => socket.destroy());
});
