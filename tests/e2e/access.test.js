// Sign-in, tokens, sessions, and their end.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { openSession, request, sendJson } from "./fixtures/http.js";
import { run } from "./fixtures/process.js";

let hub;

before(async () => {
  hub = await Hub.start();
});

after(async () => {
  await hub?.stop();
});

const gone = (socket) =>
  new Promise((resolve) => {
    const begun = Date.now();
    socket.once("disconnect", (reason) => resolve({ reason, ms: Date.now() - begun }));
  });

test("the printed link signs in once, by a cookie that no script reads", async () => {
  const link = hub.link;
  assert.match(link, new RegExp(`^${hub.url}/sign-in#`));
  const token = link.split("#")[1];
  const answer = await sendJson(hub, "POST", "/api/v1/session/link", { token });
  assert.equal(answer.status, 200);
  assert.deepEqual(answer.json.account, { name: "admin", role: "admin", hasPassword: false });
  const [cookie] = answer.headers["set-cookie"];
  assert.match(cookie, /HttpOnly/);
  assert.match(cookie, /SameSite=Strict/);
  const shown = await request(hub, "/api/v1/session", {
    headers: { Cookie: cookie.split(";")[0] },
  });
  assert.equal(shown.json.account.name, "admin");

  const again = await sendJson(hub, "POST", "/api/v1/session/link", { token });
  assert.equal(again.status, 401);
  assert.match(again.json.error.message, /kobel user link/);
});

test("nobody is signed in: said so", async () => {
  const answer = await request(hub, "/api/v1/session");
  assert.equal(answer.status, 401);
  assert.equal(answer.json.error.code, "UNAUTHORIZED");
});

test("a password is set, asked for, and changed; other sessions end", async () => {
  const [here, there] = [await hub.signIn(), await hub.signIn()];
  const put = (body, cookie) =>
    sendJson(hub, "PUT", "/api/v1/account/password", body, { Cookie: cookie });
  const short = await put({ new: "short" }, here);
  assert.equal(short.status, 400);
  assert.match(short.json.error.message, /at least 8/);
  assert.equal((await put({ new: "correct horse" }, here)).status, 204);
  const show = (cookie) => request(hub, "/api/v1/session", { headers: { Cookie: cookie } });
  assert.equal((await show(here)).json.account.hasPassword, true);
  assert.equal((await show(there)).status, 401);
  assert.equal((await put({ new: "battery staple" }, here)).status, 400);
  assert.equal((await put({ current: "correct horse", new: "battery staple" }, here)).status, 204);

  const signIn = (password) =>
    sendJson(hub, "POST", "/api/v1/session", { name: "admin", password });
  assert.equal((await signIn("battery staple")).status, 200);
  const wrong = await signIn("correct horse");
  assert.equal(wrong.status, 401);
  assert.equal(wrong.json.error.message, "wrong name or password");
  const nobody = await sendJson(hub, "POST", "/api/v1/session", { name: "x", password: "y" });
  assert.deepEqual(nobody.json, wrong.json);
});

test("failed sign-ins are made slow", async () => {
  const slow = await Hub.start();
  try {
    const signIn = () => sendJson(slow, "POST", "/api/v1/session", { name: "a", password: "b" });
    const answers = [];
    for (let i = 0; i < 12; i++) answers.push(await signIn());
    const last = answers.at(-1);
    assert.equal(last.status, 429);
    assert.ok(Number(last.headers["retry-after"]) <= 6);
    assert.match(last.json.error.message, /try again in \d+ s/);
  } finally {
    await slow.stop();
  }
});

test("requests that are wrong say what is wrong", async () => {
  const path = "/api/v1/session";
  const json = { "Content-Type": "application/json" };
  const post = (body, headers = json) => request(hub, path, { method: "POST", headers, body });
  assert.equal((await post("{")).status, 400);
  assert.match((await post('{"name":"a"}')).json.error.message, /password/);
  assert.equal((await post('{"name":"a","password":"b"}', {})).status, 400);
  assert.equal((await request(hub, "/api/v1/nothing")).json.error.code, "NOT_FOUND");
});

test("a revoked token closes its sockets within a second, and lets nobody in", async () => {
  const token = await hub.token("short-lived");
  const sockets = await Promise.all([
    hub.client(token),
    hub.client(token, { transports: ["polling"] }),
  ]);
  const other = await hub.client(await hub.token("other"));
  const closed = sockets.map(gone);
  await hub.cli("token", "revoke", "short-lived");
  const begun = Date.now();
  for (const end of closed) {
    const { reason } = await end;
    assert.equal(reason, "io server disconnect");
  }
  assert.ok(Date.now() - begun < 1_000, `${Date.now() - begun} ms`);
  assert.ok(other.connected);
  other.disconnect();
  await assert.rejects(hub.client(token), ({ data }) => data.code === "UNAUTHORIZED");
});

test("a token that expires closes its sockets by itself", async () => {
  const token = await hub.token("brief", "--expires", "2s");
  const socket = await hub.client(token);
  const { reason } = await gone(socket);
  assert.equal(reason, "io server disconnect");
});

test("sign-out closes the session's sockets within a second", async () => {
  const cookie = await hub.signIn();
  const socket = hub.socket(undefined, {
    extraHeaders: { Cookie: cookie, Origin: hub.url },
    transports: ["websocket"],
  });
  await next(socket, "connect");
  const closed = gone(socket);
  const out = await request(hub, "/api/v1/session", {
    method: "DELETE",
    headers: { Cookie: cookie },
  });
  assert.equal(out.status, 204);
  const { reason, ms } = await closed;
  assert.equal(reason, "io server disconnect");
  assert.ok(ms < 1_000, `${ms} ms`);
});

test("an account whose rights change is closed, and sees by its new ones when it is back", async () => {
  const other = "0198c0de-0000-7000-8000-0000000000ab";
  await hub.cli("user", "add", "ann");
  const token = await hub.token("anns", "--account", "ann");
  const socket = await hub.client(token);
  assert.equal((await subscribe(socket, { type: "dashboard" })).data.devices.length, 1);
  const closed = gone(socket);
  await hub.cli("user", "access", "ann", "--device", other);
  assert.ok((await closed).ms < 2_000);
  const back = await hub.client(token);
  assert.equal((await subscribe(back, { type: "dashboard" })).data.devices.length, 0);
  const removed = gone(back);
  await hub.cli("user", "remove", "ann");
  await removed;
});

test("the command line: lists without secrets, and errors that say what to do", async () => {
  const token = await hub.token("listed", "--expires", "90d");
  const list = await hub.cli("token", "list");
  assert.match(list, /listed +admin +viewer +all +valid/);
  assert.ok(!list.includes(token.slice(-20)));
  await assert.rejects(hub.cli("token", "create", "listed"), /a token named "listed" already/);
  await assert.rejects(hub.cli("token", "revoke", "nothing"), /kobel token list/);
  await assert.rejects(hub.cli("user", "remove", "admin"), /the only admin/);
  await assert.rejects(hub.cli("serve"), /another kobel \(process \d+\)/);
  assert.match(await hub.cli("user", "list"), /admin +admin +all/);
  const link = await hub.cli("user", "link", "admin");
  assert.match(link, new RegExp(`^${hub.url}/sign-in#\\d+\\.\\S{43}\n$`));
  const piped = await run(hub.binary, ["user", "password", "admin"], {
    env: hub.env,
    input: "piped password\n",
  });
  assert.equal(piped, "");
  const answer = await sendJson(hub, "POST", "/api/v1/session", {
    name: "admin",
    password: "piped password",
  });
  assert.equal(answer.status, 200);
});

test("secrets stand in no log line and in no answer", async () => {
  const token = await hub.token("unlogged");
  const socket = await hub.client(token);
  socket.disconnect();
  const session = await openSession(hub);
  await session.send(`40{"token":"${token}x"}`);
  await session.poll();
  const metrics = await hub.metrics();
  for (const text of [hub.process.output, metrics]) assert.ok(!text.includes(token.slice(10)));
});
