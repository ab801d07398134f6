// The inventory: changed by HTTP and by the command line while the hub runs, live, in the audit log.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { request, sendJson } from "./fixtures/http.js";

// Nobody listens on port 1: these devices are there, and cannot be reached.
const nobody = (user, host = "127.0.0.1") => `ssh://${user}@${host}:1`;

let hub;
let admin;
let socket;

before(async () => {
  hub = await Hub.start();
  admin = await hub.token("admin", "--role", "admin");
  socket = await hub.client(admin);
  await subscribe(socket, { type: "fleet" });
});

after(async () => {
  socket?.disconnect();
  await hub?.stop();
});

const call = (method, path, body, token = admin, headers = {}) =>
  body === undefined
    ? request(hub, `/api/v1${path}`, {
        method,
        headers: { Authorization: `Bearer ${token}`, ...headers },
      })
    : sendJson(hub, method, `/api/v1${path}`, body, {
        Authorization: `Bearer ${token}`,
        ...headers,
      });

const ok = (answer, status = 200) => {
  assert.equal(answer.status, status, answer.text);
  return answer.json;
};

const add = async (body) => ok(await call("POST", "/devices", body), 201);

const told = (event, uuid) => next(socket, event, ({ data }) => data.deviceUuid === uuid);

test("a device is added, changed and deleted, live within a second each time", async () => {
  const heard = next(socket, "deviceEntry", ({ data }) => data.name === "one");
  const begun = Date.now();
  const made = await add({ address: nobody("me"), name: "one", tags: ["web"], group: "prod" });
  const entry = await heard;
  assert.ok(Date.now() - begun < 1_000, `${Date.now() - begun} ms`);
  assert.equal(entry.data.deviceUuid, made.deviceUuid);
  assert.deepEqual([entry.data.tags, entry.data.group], [["web"], "prod"]);
  assert.equal(made.source, "ssh");
  assert.deepEqual(made.ssh.signIn, ["hub-key"]);

  const path = `/devices/${made.deviceUuid}`;
  const renamed = told("deviceEntry", made.deviceUuid);
  const edited = ok(await call("PATCH", path, { name: "first", group: null, revision: 1 }));
  assert.deepEqual([edited.name, edited.group, edited.revision], ["first", undefined, 2]);
  assert.equal((await renamed).data.name, "first");
  const late = await call("PATCH", path, { name: "second", revision: 1 });
  assert.equal(late.status, 409);
  assert.equal(late.json.error.field, "revision");
  assert.equal(ok(await call("GET", path)).name, "first");

  const removed = told("deviceRemoved", made.deviceUuid);
  assert.ok(ok(await call("DELETE", path)).deletedAt);
  assert.equal((await removed).data.removed, true);
  assert.equal(ok(await call("GET", "/devices?deleted=true")).total, 1);
  const back = told("deviceEntry", made.deviceUuid);
  ok(await call("POST", `${path}/restore`));
  await back;
  assert.equal((await call("POST", `${path}/purge`)).status, 409, "not deleted");
  ok(await call("DELETE", path));
  assert.equal((await call("POST", `${path}/purge`)).status, 204);
  assert.equal((await call("GET", path)).status, 404);

  const log = ok(await call("GET", `/audit?device=${made.deviceUuid}`)).entries;
  assert.deepEqual(
    log.map((entry) => entry.action.split(".")[1]),
    ["purge", "delete", "restore", "delete", "edit", "add"],
  );
  assert.deepEqual(log[4].before, { name: "one", group: "prod" });
  assert.deepEqual(log[4].after, { name: "first" });
  assert.equal(log[4].actor.kind, "token");
});

test("the list is filtered, and says what is wrong with a filter", async () => {
  for (const [n, group] of [
    [1, "blue"],
    [2, "blue"],
    [3, "red"],
  ])
    await add({ address: nobody("f", `127.0.1.${n}`), name: `f${n}`, tags: [`t${n}`], group });
  const names = async (query) =>
    ok(await call("GET", `/devices?${query}`)).devices.map((device) => device.name);
  assert.deepEqual(await names("group=blue"), ["f1", "f2"]);
  assert.deepEqual(await names("tag=t3"), ["f3"]);
  assert.deepEqual(await names("q=127.0.1.2"), ["f2"]);
  assert.deepEqual(await names("source=ssh&limit=1&offset=1"), ["f2"]);
  assert.equal((await names("source=local")).length, 1);
  for (const query of ["state=odd", "limit=0", "colour=red", "source=x"]) {
    const answer = await call("GET", `/devices?${query}`);
    assert.equal(answer.status, 400);
    assert.equal(answer.json.error.field, query.split("=")[0]);
  }
});

test("what is wrong is named", async () => {
  for (const [body, field] of [
    [{}, "address"],
    [{ address: "ssh://host" }, "address"],
    [{ address: "ssh://me:hunter2@host" }, "address"],
    [{ address: nobody("w"), tags: ["a", "b,c"] }, "tags[1]"],
    [{ address: nobody("w"), options: { period: 99 } }, "options.period"],
    [{ address: nobody("w"), ssh: { signIn: ["password"] } }, "secrets.password"],
    [{ address: nobody("w"), deviceUuid: "x" }, "deviceUuid"],
    [{ address: nobody("w"), name: "f1" }, "name"],
  ]) {
    const answer = await call("POST", "/devices", body);
    assert.ok([400, 409].includes(answer.status), answer.text);
    assert.equal(answer.json.error.field, field, answer.text);
    assert.ok(answer.json.error.message.startsWith(`${field}: `), answer.text);
    assert.ok(!answer.text.includes("hunter2"));
  }
  assert.equal((await call("GET", "/devices/not-a-uuid")).status, 404);
  const local = ok(await call("GET", "/devices?source=local")).devices[0];
  assert.equal((await call("DELETE", `/devices/${local.deviceUuid}`)).status, 409);
  const dialled = await call("PATCH", `/devices/${local.deviceUuid}`, { address: nobody("x") });
  assert.equal(dialled.json.error.field, "address");
});

test("viewers read their part of it; nobody but an admin writes", async () => {
  const made = await add({ address: nobody("p"), name: "p", notes: "behind the door" });
  const path = `/devices/${made.deviceUuid}`;
  const viewer = await hub.token("viewer");
  const other = await hub.token("other", "--device", "0198c0de-0000-7000-8000-0000000000ab");
  const half = await hub.token("half", "--role", "admin", "--device", made.deviceUuid);
  const seen = ok(await call("GET", path, undefined, viewer));
  assert.equal(seen.name, "p");
  for (const hidden of ["ssh", "secrets", "notes", "options"]) assert.ok(!(hidden in seen), hidden);
  assert.equal((await call("GET", path, undefined, other)).status, 404);
  assert.equal(ok(await call("GET", "/devices", undefined, other)).total, 0);
  for (const token of [viewer, other, half])
    for (const [method, at, body] of [
      ["POST", "/devices", { address: nobody("q") }],
      ["PATCH", path, { name: "q" }],
      ["DELETE", path],
      ["POST", `${path}/restore`],
      ["POST", `${path}/purge`],
      ["POST", `${path}/host-key`, { fingerprint: "x" }],
      ["GET", "/devices/hub-key"],
      ["GET", "/audit"],
    ])
      assert.equal((await call(method, at, body, token)).status, 403, `${method} ${at}`);
  assert.equal((await request(hub, "/api/v1/devices")).status, 401);

  // A session's cookie comes with any request of the browser: the page must show itself.
  const cookie = await hub.signIn();
  const byCookie = (headers) =>
    sendJson(hub, "PATCH", `/api/v1${path}`, { notes: "x" }, { Cookie: cookie, ...headers });
  assert.equal((await byCookie({})).status, 403);
  assert.equal((await byCookie({ Origin: "http://evil.example" })).status, 403);
  assert.equal((await byCookie({ Origin: hub.url })).status, 200);
  const [last] = ok(await call("GET", "/audit?limit=1")).entries;
  assert.deepEqual(last.actor, { kind: "account", name: "admin" });
});

test("the audit log comes in pages", async () => {
  const all = ok(await call("GET", "/audit?limit=1000")).entries;
  const found = [];
  for (let cursor = ""; cursor !== null;) {
    const page = ok(await call("GET", `/audit?limit=3&cursor=${cursor}`));
    found.push(...page.entries);
    cursor = page.cursor;
  }
  assert.deepEqual(found, all);
  assert.ok(all.length > 6);
});

test("host keys are pinned by their fingerprint", async () => {
  const made = await add({ address: nobody("k"), name: "k" });
  const path = `/devices/${made.deviceUuid}/host-key`;
  const key = (c) => `SHA256:${c.repeat(43)}`;
  const pinned = ok(await call("POST", path, { fingerprint: key("a") }));
  assert.equal(pinned.ssh.hostKeys[0].host, "127.0.0.1:1");
  const both = ok(await call("POST", path, { fingerprint: key("b") }));
  assert.equal(both.ssh.hostKeys.length, 2);
  const one = ok(await call("POST", path, { fingerprint: key("c"), replace: true }));
  assert.deepEqual(
    one.ssh.hostKeys.map((k) => k.fingerprint),
    [key("c")],
  );
  const wrong = await call("POST", path, { fingerprint: "MD5:x" });
  assert.equal(wrong.json.error.field, "fingerprint");
});

test("names are only ever names", async () => {
  for (const name of ['o\'neil "x"', "$(touch /tmp/x); `id`", "../../etc", "<img src=x>"]) {
    const made = await add({ address: nobody("i"), name, tags: [name], notes: name });
    const shown = ok(await call("GET", `/devices/${made.deviceUuid}`));
    assert.deepEqual([shown.name, shown.tags, shown.notes], [name, [name], name]);
    ok(await call("DELETE", `/devices/${made.deviceUuid}`));
  }
  const broken = await call("POST", "/devices", { address: nobody("i"), name: "a\nb" });
  assert.equal(broken.json.error.field, "name");
});
