// Hubs on a PostgreSQL that they share: one truth for all, its loss survived, no password shown.
import assert from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { request } from "./fixtures/http.js";
import { Postgres } from "./fixtures/postgres.js";
import { run } from "./fixtures/process.js";

let postgres, one, two;

const on = (url, options = {}) => Hub.start({ env: { KOBEL_DATABASE_URL: url }, ...options });

before(async () => {
  postgres = await Postgres.start();
  // Both at once: one of them makes the tables.
  [one, two] = await Promise.all([on(postgres.url), on(postgres.url)]);
});

after(async () => {
  for (const hub of [one, two]) await hub?.stop();
  await postgres?.stop();
});

test("a token and a session of one hub hold on the other, and end on both within a second", async () => {
  const token = await one.token("both");
  const sockets = [await one.client(token), await two.client(token)];
  for (const socket of sockets) await subscribe(socket, { type: "dashboard" });
  const cookie = await one.signIn();
  const session = { headers: { Cookie: cookie } };
  assert.equal((await request(two, "/api/v1/session", session)).status, 200);

  const ends = sockets.map(async (socket) => {
    await next(socket, "disconnect");
    return performance.now();
  });
  await two.cli("token", "revoke", "both");
  const revoked = performance.now();
  const late = (await Promise.all(ends)).map((end) => end - revoked);
  console.log(`closed ${late.map((ms) => ms.toFixed(0))} ms after the command's end`);
  assert.ok(Math.max(...late) < 1_000, `${late}`);
  await assert.rejects(one.client(token));
  await assert.rejects(two.client(token));

  const out = { method: "DELETE", headers: { Cookie: cookie, Origin: two.url } };
  assert.equal((await request(two, "/api/v1/session", out)).status, 204);
  assert.equal((await request(one, "/api/v1/session", session)).status, 401);
});

test("an inventory and its secrets, by the command line of either", async () => {
  await one.cli(
    ...["device", "add", "ssh://me@192.0.2.7", "--name", "far", "--accept-new", "--no-test"],
  );
  assert.match(await two.cli("device", "list", "--json"), /"far"/);
  assert.equal(await postgres.query("SELECT count(*) FROM devices WHERE name = 'far'"), "1");
});

test("PostgreSQL restarts and crashes: viewers see on, who is known comes in, then all is as before", async () => {
  const token = await one.token("steady");
  const socket = await one.client(token);
  const uuid = await one.deviceUuid(socket);
  await subscribe(socket, { type: "device", id: uuid });
  let closed = false;
  socket.once("disconnect", () => (closed = true));

  for (const end of ["down", "kill"]) {
    // By now the hub has looked up again who it knew before the last change.
    for (let n = 0; n < 2; n++) await next(socket, "stats");
    await postgres[end]();
    // Live data needs no database.
    for (let n = 0; n < 3; n++) await next(socket, "stats");
    const again = await one.client(token);
    await subscribe(again, { type: "device", id: uuid });
    await next(again, "stats");
    again.disconnect();
    // Taken out of the balancer, a hub would serve nobody; and the other one is no better off.
    const ready = await request(one, "/readyz");
    assert.deepEqual([ready.status, ready.text], [200, "ok, without its database\n"]);
    const unknown = await one.client(token.replace(/_\d+_/, "_9999_")).catch((error) => error);
    assert.match(unknown.message, /store failed; try again later/);
    await assert.rejects(one.cli("token", "list"), /the database cannot be reached/);

    await postgres.up();
    await one.process.until("the database to be back", async () => {
      return (await request(one, "/readyz")).text === "ok\n";
    });
    const fresh = await one.token(`after-${end}`);
    (await two.client(fresh)).disconnect();
    // Also what is revoked from now on is heard of.
    const held = await two.client(fresh);
    const ended = next(held, "disconnect");
    await one.process.until("the changes to be listened to", async () => {
      return Number(
        await postgres.query("SELECT count(*) FROM pg_stat_activity WHERE query ~ 'SELECT 1'"),
      );
    });
    await one.cli("token", "revoke", `after-${end}`);
    await ended;
  }
  assert.equal(closed, false);
  socket.disconnect();
});

test("what is revoked while a hub does not hear is noticed when it hears again", async () => {
  const token = await one.token("cut");
  const socket = await two.client(token);
  await subscribe(socket, { type: "device", id: await two.deviceUuid(socket) });
  // For three seconds after a change it looks at credentials without being told.
  for (let n = 0; n < 5; n++) await next(socket, "stats");
  const ended = next(socket, "disconnect", undefined, 15_000);
  await postgres.query(
    `UPDATE tokens SET revoked_at = 1 WHERE name = 'cut';
     SELECT pg_terminate_backend(pid) FROM pg_stat_activity
     WHERE application_name = 'kobel' AND pid <> pg_backend_pid()`,
  );
  await ended;
});

test("the password is said nowhere", async () => {
  const encoded = encodeURIComponent(postgres.password);
  const secrets = [postgres.password, encoded, encoded.slice(0, 12)];
  const clean = (text) => secrets.every((secret) => !text.includes(secret));
  for (const hub of [one, two]) assert.ok(clean(hub.process.output), hub.process.output);
  assert.ok(clean(await readFile(`/proc/${one.process.child.pid}/cmdline`, "utf8")));
  assert.ok(clean(await one.cli("serve", "--help")));
  const fails = (args, env = one.env) =>
    run(one.binary, args, { env }).then(
      () => assert.fail("it did not fail"),
      (error) => error.message.split("\n").slice(1).join("\n"),
    );
  const wrong = (url) => ({ ...one.env, KOBEL_DATABASE_URL: url });
  for (const [url, says] of [
    [postgres.url.replace(/\d+\/kobel/, "1/kobel"), /cannot be reached/],
    [postgres.urlOf("nothing"), /database "nothing" does not exist/],
    [postgres.url.replace("postgres:", "mysql:"), /none of PostgreSQL/],
    [postgres.url.replace("kobel:", "kobel/:"), /cannot be read/],
    [postgres.url.replace("kobel:", "kobel:wrong"), /password authentication failed/],
    [postgres.urlOf("kobel", "?sslmode=require"), /TLS|SSL/],
  ]) {
    const said = await fails(["token", "list"], wrong(url));
    assert.match(said, says);
    assert.ok(clean(said), said);
  }
  // Everybody on the machine could read it there.
  const refused = await fails(["token", "list", "--database-url", postgres.url]);
  assert.match(refused, /KOBEL_DATABASE_URL/);
  assert.ok(clean(refused), refused);
  // By a file it may be the flag.
  const file = path.join(one.dir, "password");
  await writeFile(file, `${postgres.password}\n`);
  const url = `postgres://kobel@127.0.0.1:${postgres.port}/kobel`;
  const { KOBEL_DATABASE_URL: _, ...env } = one.env;
  const flags = ["--database-url", url, "--database-password-file", file];
  assert.match(await run(one.binary, ["token", "list", ...flags], { env }), /steady/);
});

test("by TLS, with the server's certificate checked", async (t) => {
  const secure = await Postgres.start({ tls: true });
  t.after(() => secure.stop());
  const verified = secure.urlOf("kobel", `?sslmode=verify-full&sslrootcert=${secure.caFile}`);
  const hub = await on(verified);
  t.after(() => hub.stop());
  const socket = await hub.client(await hub.token());
  socket.disconnect();
  const plain =
    "SELECT count(*) FROM pg_stat_ssl s JOIN pg_stat_activity a USING (pid) WHERE application_name = 'kobel' AND NOT ssl";
  assert.equal(await secure.query(plain), "0");
  // Nobody signed this certificate that this machine knows.
  const env = { ...hub.env, KOBEL_DATABASE_URL: secure.urlOf("kobel", "?sslmode=verify-full") };
  await assert.rejects(run(hub.binary, ["token", "list"], { env }), /certificate/);
});
