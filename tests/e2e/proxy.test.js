// Behind the nginx of docs/proxy.md: who the client is, and that live stays live.
import assert from "node:assert/strict";
import https from "node:https";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { request, sendJson } from "./fixtures/http.js";
import { Nginx, documented } from "./fixtures/nginx.js";

// nginx calls from 127.0.0.1; clients come from other addresses of this machine.
const [CLIENT, OTHER, STRANGER] = ["127.0.0.5", "127.0.0.6", "127.0.0.9"];

let hub, nginx, token;

before(async () => {
  const args = ["--trusted-proxy", "127.0.0.1", "--max-connections-per-address", "6"];
  hub = await Hub.start({ args: [...args, "--ping-interval", "1s", "--ping-timeout", "1s"] });
  nginx = await Nginx.start(hub);
  token = await hub.token("behind");
});

after(async () => {
  await nginx?.stop();
  await hub?.stop();
});

/** A client of nginx, from an address. */
const client = (localAddress, options = {}) =>
  io(nginx.url, {
    auth: { token },
    agent: new https.Agent({ ca: nginx.ca, localAddress, keepAlive: true }),
    forceNew: true,
    reconnection: false,
    ...options,
  });

const connected = async (socket) => {
  await next(socket, "connect");
  return socket;
};

const post = (path, body, { from = CLIENT, headers = {} } = {}) =>
  nginx.request(path, {
    method: "POST",
    localAddress: from,
    headers: { "Content-Type": "application/json", ...headers },
    body: JSON.stringify(body),
  });

test("sign-in by https: a Secure cookie, and the client's address in the log", async () => {
  const link = (await hub.cli("user", "link", "admin")).trim().split("#")[1];
  const answer = await post(
    "/api/v1/session/link",
    { token: link },
    { headers: { Origin: nginx.url } },
  );
  assert.equal(answer.status, 200, answer.text);
  const [cookie] = answer.headers["set-cookie"];
  assert.match(cookie, /; Secure/);
  assert.match(hub.process.output, /signed in.*127\.0\.0\.5/);

  const cookieHeader = { Cookie: cookie.split(";")[0] };
  const socket = await connected(
    client(CLIENT, { auth: {}, extraHeaders: { ...cookieHeader, Origin: nginx.url } }),
  );
  assert.equal((await subscribe(socket, { type: "dashboard" })).data.devices.length, 1);
  socket.disconnect();

  // A page of the same name that came by plain http is somebody else's.
  const plain = { headers: { Origin: nginx.url.replace("https", "http") } };
  const refused = await post("/api/v1/session/link", { token: link }, plain);
  assert.equal(refused.status, 403);
  assert.equal(refused.json.error.code, "FOREIGN_ORIGIN");
});

test("without nginx, by http: no Secure", async () => {
  const link = (await hub.cli("user", "link", "admin")).trim().split("#")[1];
  const headers = { "X-Forwarded-Proto": "https" };
  const options = { localAddress: STRANGER, headers };
  const answer = await direct("POST", "/api/v1/session/link", { token: link }, options);
  assert.equal(answer.status, 200);
  assert.doesNotMatch(answer.headers["set-cookie"][0], /Secure/);
});

for (const [what, options] of Object.entries({
  polling: { transports: ["polling"] },
  WebSocket: { transports: ["websocket"] },
  "polling and then WebSocket": {},
})) {
  test(`live by ${what}: prompt, and alive over several pings`, async () => {
    const socket = client(CLIENT, options);
    const upgraded = new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
    await connected(socket);
    if (what.includes("then")) await upgraded;
    await subscribe(socket, { type: "device", id: await hub.deviceUuid(socket) });
    const late = [];
    for (let n = 0; n < 5; n++) {
      const { timestamp } = await next(socket, "stats");
      late.push(Date.now() - Date.parse(timestamp));
    }
    // A buffer on the way would hold samples back for seconds.
    assert.ok(late.sort((a, b) => a - b)[2] < 300, `ms from sample to client: ${late}`);
    assert.ok(socket.connected);
    socket.disconnect();
  });
}

test("failed sign-ins are slowed down by the client's address, whatever it claims", async () => {
  const wrong = (from, claim) =>
    post(
      "/api/v1/session",
      { name: "a", password: "b" },
      { from, headers: claim ? { "X-Forwarded-For": claim } : {} },
    );
  const answers = [];
  for (let n = 0; n < 12; n++) answers.push((await wrong(CLIENT, `203.0.113.${n}`)).status);
  assert.equal(answers[0], 401);
  assert.equal(answers.at(-1), 429);
  assert.equal((await wrong(OTHER)).status, 401);
  assert.match(hub.process.output, /sign-in failed.*127\.0\.0\.5/);
  assert.doesNotMatch(hub.process.output, /203\.0\.113\./);
});

/** A request to the hub itself, past nginx. */
function direct(method, path, body, { localAddress, headers }) {
  const through = { port: hub.port, localAddress };
  return sendJson(through, method, path, body, headers);
}

test("a forged X-Forwarded-For from who is no proxy is ignored", async () => {
  const options = { localAddress: STRANGER, headers: { "X-Forwarded-For": "198.51.100.7" } };
  const body = { name: "a", password: "b" };
  assert.equal((await direct("POST", "/api/v1/session", body, options)).status, 401);
  assert.match(hub.process.output, /sign-in failed.*127\.0\.0\.9/);
  assert.doesNotMatch(hub.process.output, /198\.51\.100\.7/);
});

test("metrics: this machine may ask, whoever comes by the proxy needs a token", async () => {
  assert.equal((await request(hub, "/metrics")).status, 200);
  for (const claim of ["127.0.0.1", "::1", "localhost"]) {
    const headers = { "X-Forwarded-For": claim };
    const answer = await nginx.request("/metrics", { localAddress: CLIENT, headers });
    assert.equal(answer.status, 401, claim);
  }
  const headers = { Authorization: `Bearer ${token}` };
  assert.equal((await nginx.request("/metrics", { headers })).status, 200);
});

test("the limit of an address is the client's, not the proxy's", async () => {
  const options = { transports: ["websocket"] };
  const many = await Promise.all(
    [CLIENT, OTHER].flatMap((from) =>
      Array.from({ length: 6 }, () => connected(client(from, options))),
    ),
  );
  const refused = client(CLIENT, options);
  await next(refused, "connect_error");
  const answer = await nginx.request("/healthz", { localAddress: CLIENT });
  assert.equal(answer.status, 429);
  assert.equal(answer.headers["retry-after"], "10");
  assert.equal((await nginx.request("/healthz", { localAddress: STRANGER })).status, 200);
  for (const socket of many) socket.disconnect();
  await hub.process.until("the places to be free", async () => {
    return (await nginx.request("/healthz", { localAddress: CLIENT })).status === 200;
  });
});

test("the documented command and nginx go together", async () => {
  const shown = (await documented("sh")).find((block) => block.includes("--trusted-proxy"));
  const [program, command, ...args] = shown.trim().split(/\s+/);
  assert.deepEqual([program, command], ["kobel", "serve"]);
  const named = await Hub.start({ args });
  const before = await Nginx.start(named);
  try {
    assert.match(named.link, /^https:\/\/kobel\.example\.com\/sign-in#/);
    const headers = { Host: "kobel.example.com", Origin: "https://kobel.example.com" };
    const page = await before.request("/api/v1/session", { headers });
    assert.equal(page.status, 401, page.text);
    assert.equal(page.json.error.code, "UNAUTHORIZED");
    const foreign = await before.request("/", { headers: { Host: "evil.example" } });
    assert.equal(foreign.status, 421);
    const redirect = await request({ port: before.plainPort }, "/device?x=1", {
      headers: { Host: "kobel.example.com" },
    });
    assert.equal(redirect.status, 301);
    assert.equal(redirect.headers.location, "https://kobel.example.com/device?x=1");
  } finally {
    await before.stop();
    await named.stop();
  }
});
