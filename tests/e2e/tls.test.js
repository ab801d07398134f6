// TLS by the hub itself: stock clients, renewal, and handshakes that do not end.
import assert from "node:assert/strict";
import net from "node:net";
import path from "node:path";
import tls from "node:tls";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { Hub, freePort, next, subscribe } from "./fixtures/hub.js";
import { rawExchange } from "./fixtures/http.js";
import { SecureHub, at, certificate } from "./fixtures/tls.js";
import { run } from "./fixtures/process.js";

let hub, token;

before(async () => {
  hub = await SecureHub.start({ args: ["--header-timeout", "3s", "--max-payload", "20000"] });
  token = await hub.token("tls");
});

after(async () => {
  assert.equal(await hub?.stop(), 0);
});

/** A handshake; gives the socket. */
async function handshake(port, ca, options = {}) {
  const socket = tls.connect({ ...at(port, ca), ...options });
  await once(socket, "secureConnect");
  return socket;
}

const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

test("links and cookies are https, and a page of plain http is foreign", async () => {
  assert.match(hub.link, new RegExp(`^${hub.url}/sign-in#`));
  const headers = { "Content-Type": "application/json", Origin: hub.url };
  const body = JSON.stringify({ token: hub.link.split("#")[1] });
  const path = "/api/v1/session/link";
  const plain = { ...headers, Origin: hub.url.replace("https", "http") };
  const refused = await hub.request(path, { method: "POST", headers: plain, body });
  assert.equal(refused.json.error.code, "FOREIGN_ORIGIN");
  const answer = await hub.request(path, { method: "POST", headers, body });
  assert.equal(answer.status, 200, answer.text);
  const [cookie] = answer.headers["set-cookie"];
  assert.match(cookie, /; Secure/);
  assert.equal(answer.headers["strict-transport-security"], undefined);

  const socket = hub.socket(undefined, {
    extraHeaders: { Cookie: cookie.split(";")[0], Origin: hub.url },
  });
  await next(socket, "connect");
  socket.disconnect();
});

for (const [what, options] of Object.entries({
  polling: { transports: ["polling"] },
  WebSocket: { transports: ["websocket"] },
  "polling and then WebSocket": {},
})) {
  test(`live by ${what} over TLS is prompt`, async () => {
    const socket = hub.socket(token, options);
    const upgraded = new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
    await next(socket, "connect");
    if (what.includes("then")) await upgraded;
    await subscribe(socket, { type: "device", id: await hub.deviceUuid(socket) });
    const late = [];
    for (let n = 0; n < 5; n++) {
      const { timestamp } = await next(socket, "stats");
      late.push(Date.now() - Date.parse(timestamp));
    }
    assert.ok(late.sort((a, b) => a - b)[2] < 200, `ms from sample to client: ${late}`);
    socket.disconnect();
  });
}

test("messages of many TLS records come whole, and too large a one ends its sender only", async () => {
  const [good, bad] = [await hub.client(token), await hub.client(token)];
  for (const socket of [good, bad]) {
    if (socket.io.engine.transport.name !== "websocket") {
      await new Promise((resolve) => socket.io.engine.once("upgrade", resolve));
    }
  }
  const bye = new Promise((resolve) => bad.once("disconnect", resolve));
  bad.emit("activity", { visible: true, padding: "x".repeat(30_000) });
  await bye;
  const answer = await good
    .timeout(5_000)
    .emitWithAck("activity", { visible: true, padding: "x".repeat(19_000) });
  assert.equal(answer.ok, true);
  good.disconnect();
});

test("plain HTTP is told to use https, and nonsense is closed", async () => {
  const told = await rawExchange(hub, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  assert.match(told, /^HTTP\/1\.1 400 .*This port speaks TLS: use https:\/\//s);
  assert.doesNotMatch(await rawExchange(hub, Buffer.alloc(100, 0xff)), /HTTP/);
  assert.equal((await hub.request("/healthz")).status, 200);
});

test("TLS 1.2 and 1.3 are spoken, and nothing older; HTTP/1.1 inside", async () => {
  for (const version of ["TLSv1.2", "TLSv1.3"]) {
    const versions = { minVersion: version, maxVersion: version };
    const protocols = { ALPNProtocols: ["h2", "http/1.1"] };
    const socket = await handshake(hub.port, hub.ca, { ...versions, ...protocols });
    assert.equal(socket.getProtocol(), version);
    assert.equal(socket.alpnProtocol, "http/1.1");
    socket.destroy();
  }
  const old = { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: "DEFAULT@SECLEVEL=0" };
  await assert.rejects(handshake(hub.port, hub.ca, old));
});

test("200 idle TLS connections keep nobody out, and are closed in time", async () => {
  // Half of them say half a hello, the others nothing after the handshake.
  const hello = await clientHello();
  const half = await Promise.all(
    Array.from({ length: 100 }, async () => {
      const socket = net.connect(hub.port, "127.0.0.1");
      await once(socket, "connect");
      socket.write(hello.subarray(0, hello.length / 2));
      return socket;
    }),
  );
  const whole = await Promise.all(Array.from({ length: 100 }, () => handshake(hub.port, hub.ca)));
  const begun = Date.now();
  const ends = [...half, ...whole].map((socket) => {
    socket.on("error", () => {});
    socket.resume();
    return once(socket, "close");
  });
  const others = await Promise.all(Array.from({ length: 10 }, () => hub.client(token)));
  assert.ok(Date.now() - begun < 2_000, `${Date.now() - begun} ms`);
  await Promise.all(ends);
  assert.ok(Date.now() - begun < 6_000, `${Date.now() - begun} ms`);
  for (const socket of others) {
    assert.ok(socket.connected);
    socket.disconnect();
  }
});

/** What a client of Node's says first. */
async function clientHello() {
  const server = net.createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const client = tls.connect({ host: "127.0.0.1", port: server.address().port });
  client.on("error", () => {});
  const [accepted] = await once(server, "connection");
  const [hello] = await once(accepted, "data");
  client.destroy();
  server.close();
  return hello;
}

test("half-open handshakes count as connections: over the limit is a clear refusal", async () => {
  const small = await SecureHub.start({ args: ["--max-connections-per-address", "5"] });
  try {
    const held = await Promise.all(
      Array.from({ length: 5 }, async () => {
        const socket = net.connect(small.port, "127.0.0.1");
        await once(socket, "connect");
        socket.write(Buffer.from([0x16]));
        return socket;
      }),
    );
    await small.process.until("a refusal", async () => {
      const answer = await small.request("/healthz").catch(() => null);
      return answer?.status === 429 && answer.headers["retry-after"] === "10";
    });
    for (const socket of held) socket.destroy();
    await small.process.until("room again", () => small.ready().catch(() => false));
  } finally {
    await small.stop();
  }
});

test("a renewed certificate: new handshakes get it, old connections live on", async () => {
  const old = await hub.client(token, { transports: ["websocket"] });
  await subscribe(old, { type: "device", id: await hub.deviceUuid(old) });
  const oldCa = hub.ca;
  const begun = Date.now();
  const newCa = await hub.renew("renewed");
  await hub.process.until("the new certificate", async () => {
    const socket = await handshake(hub.port, [oldCa, newCa]);
    const { subject } = socket.getPeerCertificate();
    socket.destroy();
    return subject.CN === "renewed";
  });
  assert.ok(Date.now() - begun < 8_000, `${Date.now() - begun} ms`);
  hub.ca = newCa;
  assert.match(hub.process.output, /the certificate was renewed/);
  await next(old, "stats");
  assert.ok(old.connected);
  old.disconnect();
  (await hub.client(token)).disconnect();

  // A pair that is no good is told once, and the one before stays in use.
  const other = await certificate(hub.dir, "other");
  await writeFile(hub.cert, other.ca);
  const bad = /the certificate in use stays.*does not match/g;
  await hub.process.until("the complaint", () => bad.test(hub.process.output));
  await sleep(5_000);
  assert.equal(hub.process.output.match(bad).length, 1);
  assert.equal((await hub.request("/healthz")).peer.subject.CN, "renewed");
});

test("a pair that cannot be used stops the start, and it is said why", async () => {
  const plain = await Hub.start();
  try {
    const [one, two] = [await certificate(plain.dir), await certificate(plain.dir)];
    const empty = path.join(plain.dir, "empty.pem");
    await writeFile(empty, "");
    const listen = ["serve", "--listen", `127.0.0.1:${await freePort()}`];
    for (const [cert, key, says] of [
      ["/no/such.pem", one.key, /\/no\/such\.pem of --tls-cert: No such file/],
      [one.cert, "/no/such.pem", /\/no\/such\.pem of --tls-key: No such file/],
      [empty, one.key, /no certificate in .*empty\.pem.*BEGIN CERTIFICATE/],
      [one.cert, empty, /no private key in .*empty\.pem.*BEGIN PRIVATE KEY/],
      [one.cert, two.key, /key in .*key\.pem does not match .*cert\.pem/],
      [one.key, one.key, /no certificate in .*key\.pem/],
    ]) {
      await assert.rejects(plain.cli(...listen, "--tls-cert", cert, "--tls-key", key), says);
    }
    await assert.rejects(plain.cli(...listen, "--tls-cert", one.cert), /without tls-key/);
    const rsa = path.join(plain.dir, "protected.pem");
    await run("openssl", [
      ...["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"],
      ...["-aes256", "-pass", "pass:secret", "-out", rsa],
    ]);
    await assert.rejects(
      plain.cli(...listen, "--tls-cert", one.cert, "--tls-key", rsa),
      /protected by a password.*openssl pkey/,
    );
  } finally {
    await plain.stop();
  }
});
