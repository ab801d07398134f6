// Stored lines of real containers: all that `docker logs` says, once; found when the container is
// gone, when the hub was killed, when the disk was full.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { mkdir, readdir, rm, writeFile } from "node:fs/promises";
import path from "node:path";
import { Docker } from "./fixtures/docker.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { Process, run as command } from "./fixtures/process.js";

const IMAGE = "kobel-test:latest";

let docker, hub, token;

before(async () => {
  docker = await Docker.start();
  hub = await Hub.start({ docker });
  token = await hub.token("logs");
});

after(async () => {
  await hub?.stop();
  await docker?.stop();
});

/** A container that runs a script; gives its full id. */
async function run(name, script, ...options) {
  const args = ["run", "-d", "--name", name, "--network=none", ...options, IMAGE, "sh", "-c"];
  return (await docker.run(...args, script)).trim();
}

const truth = async (id) => (await docker.run("logs", id)).split("\n").slice(0, -1);

function ask(parameters, headers = {}, of = hub) {
  const url = `${of.url}/api/v1/logs/search?${new URLSearchParams(parameters)}`;
  return fetch(url, { headers: { Authorization: `Bearer ${token}`, ...headers } });
}

/** A page of what is found. */
async function search(parameters, of = hub) {
  const answer = await ask(parameters, {}, of);
  const page = await answer.json();
  assert.equal(answer.status, 200, JSON.stringify(page));
  return page;
}

/** Everything of a container, oldest first, without what the hub marked. */
async function stored(container, of = hub) {
  const accept = { Accept: "application/x-ndjson" };
  const answer = await ask({ container, order: "oldest" }, accept, of);
  const lines = (await answer.text()).split("\n").filter(Boolean).map(JSON.parse);
  return lines.filter((line) => !line.marker);
}

const raw = (line) => line.raw ?? line.message;

async function until(what, look, ms = 20_000) {
  const end = Date.now() + ms;
  for (;;) {
    const seen = await look();
    if (seen) return seen;
    if (Date.now() > end) throw new Error(`${what} did not happen\n${hub.process.output}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

test("what a removed container said is found, by those who may see it", async () => {
  const script = `echo '{"level":"warn","msg":"slow query","took":12}'; echo plain zebra; sleep 100`;
  const id = await run("gone", script);
  await until("storing", async () => (await stored("gone")).length === 2);
  await docker.run("rm", "-f", id);

  const { lines, cursor } = await search({ q: "slow level>=warn took=12" });
  assert.equal(lines.length, 1);
  assert.equal(cursor, null);
  const [line] = lines;
  assert.equal(line.name, "gone");
  assert.equal(line.streamId.split(":")[1], id);
  assert.deepEqual([line.level, line.message, line.fields], ["warn", "slow query", { took: 12 }]);
  assert.equal((await search({ q: "zebra", container: "gone" })).lines[0].message, "plain zebra");
  assert.equal((await search({ q: "zebra", from: "1h" })).lines.length, 1);
  assert.equal((await search({ q: "zebra", to: "1h" })).lines.length, 0);
  assert.equal((await search({ q: "zebr" })).lines.length, 0, "a word is a whole one");
  assert.equal((await search({ q: "/ZEB.A/i -slow" })).lines.length, 1);

  const found = await hub.cli("search", "zebra");
  assert.match(found, /^\S+Z gone \| plain zebra\n$/);
  const told = await hub.cli("logs", "gone");
  assert.match(told, /^\{"level":"warn".*\}\nplain zebra\n/);
  assert.equal(JSON.parse(await hub.cli("search", "--json", "zebra")).message, "plain zebra");
  // The token that the command made is given back.
  assert.match(await hub.cli("token", "list"), /logs-\S+ .*revoked/);

  const other = "0198c0de-0000-7000-8000-0000000000ab";
  const blind = await hub.token("blind", "--device", other);
  const seen = await ask({ q: "zebra" }, { Authorization: `Bearer ${blind}` });
  assert.deepEqual((await seen.json()).lines, []);
  const agent = await hub.token("agent", "--role", "agent");
  assert.equal((await ask({}, { Authorization: `Bearer ${agent}` })).status, 403);
  assert.equal((await fetch(`${hub.url}/api/v1/logs/search`)).status, 401);
  const cookie = await hub.signIn();
  const own = await fetch(`${hub.url}/api/v1/logs/streams`, { headers: { Cookie: cookie } });
  const { streams } = await own.json();
  assert.equal(streams.find((stream) => stream.containerId === id).name, "gone");
});

test("what is wrong with a search is said by its parameter", async () => {
  for (const [parameters, says] of [
    [{ q: "/(/" }, /^q: .*unclosed group/],
    [{ from: "soon" }, /^from: .*is no time/],
    [{ limit: "no" }, /^limit: expected a number/],
    [{ colour: "red" }, /^colour: unknown/],
  ]) {
    const answer = await ask(parameters);
    const { error } = await answer.json();
    assert.deepEqual([answer.status, error.code], [400, "BAD_REQUEST"]);
    assert.match(error.message, says);
  }
  await assert.rejects(hub.cli("logs", "--grep", "(", "x"), /the hub refused: q: .*unclosed group/);
});

test("pages go on where the one before ended", async () => {
  await run("pages", "i=0; while [ $i -lt 50 ]; do i=$((i+1)); echo page line $i; done; sleep 100");
  await until("storing", async () => (await stored("pages")).length === 50);
  const all = [];
  let cursor = "";
  do {
    const page = await search({ container: "pages", q: "line", limit: 7, cursor });
    all.push(...page.lines.map((line) => line.message));
    cursor = page.cursor;
  } while (cursor);
  assert.deepEqual(
    all,
    Array.from({ length: 50 }, (_, i) => `page line ${50 - i}`),
  );
});

test("a label keeps a container's lines out of the store, not from its viewers", async () => {
  const script = "while true; do echo secret giraffe; sleep 0.2; done";
  const id = await run("private", script, "--label", "kobel.logs=off");
  await run("public", "echo public giraffe; sleep 100");
  const socket = await hub.client(token);
  const uuid = await hub.deviceUuid(socket);
  await until("the container", async () => {
    const { data } = await subscribe(socket, { type: "device", id: uuid });
    return data.containers.find((container) => container.containerId === id)?.logs === "off";
  });
  const batch = next(socket, "logBatch");
  await subscribe(socket, { type: "container", id, options: { logs: true } });
  assert.match((await batch).logs[0].message, /secret giraffe/);
  socket.disconnect();
  await until("storing", async () => (await stored("public")).length === 1);
  const { lines } = await search({ q: "giraffe" });
  assert.deepEqual(
    lines.map((line) => line.message),
    ["public giraffe"],
  );
  await docker.run("rm", "-f", id);
});

test("logs -f goes on with what comes, and ends when its token does", async () => {
  const script = "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.1; done";
  const id = await run("ticks", script);
  await until("storing", async () => (await stored("ticks")).length > 3);
  const viewer = await hub.token("viewer");
  const args = ["logs", "-f", "--tail", "2", "ticks"];
  const env = { ...hub.env, KOBEL_TOKEN: viewer };
  const following = new Process("kobel logs", hub.binary, args, { env });
  await until("following", () => following.output.split("\n").length > 15);
  await hub.cli("token", "revoke", "viewer");
  await following.ended;
  assert.equal(following.child.exitCode, 1);
  assert.match(following.output, /token or session has ended/);
  const numbers = [...following.output.matchAll(/^tick (\d+)$/gm)].map(([, n]) => Number(n));
  assert.deepEqual(
    numbers,
    numbers.map((_, i) => numbers[0] + i),
    "each once and in order",
  );
  await docker.run("rm", "-f", id);
});

test("a hub that is killed while lines come repeats none and misses none", async () => {
  const script =
    "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); echo out $i; " +
    "[ $((i%500)) -eq 0 ] && sleep 0.1; [ $((i%50)) -eq 0 ] && echo ERROR err $i >&2 && echo '  at a.b(c.java)' >&2; done; sleep 1000";
  const id = await run("killed", script);
  for (let kill = 0; kill < 3; kill++) {
    const before = (await stored("killed")).length;
    await until("some lines", async () => (await stored("killed")).length > before + 500);
    const known = (await stored("killed")).map(raw);
    // What was there a second before is there afterwards.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    await hub.process.stop("SIGKILL");
    await hub.up();
    const again = (await stored("killed")).map(raw);
    // Lines of the two outputs come in between each other, by their times.
    const there = new Set(again);
    assert.deepEqual(
      known.filter((line) => !there.has(line)),
      [],
    );
  }
  const lines = async () => (await stored("killed")).flatMap((line) => raw(line).split("\n"));
  const said = await until("the end", async () => {
    // The two outputs race to the end.
    const all = await docker.run("logs", "--tail", "5", id);
    return all.includes("out 60000") && truth(id);
  });
  await until("storing", async () => (await lines()).length >= 60_000 + 2 * 1200, 60_000);
  const all = await lines();
  const out = (list) => list.filter((line) => line.startsWith("out"));
  assert.deepEqual(out(all), out(said), "as docker logs says");
  const errors = all.filter((line) => !line.startsWith("out"));
  assert.equal(errors.length, 2400);
  assert.equal(new Set(errors.filter((line) => line.startsWith("ERROR"))).size, 1200);
  await docker.run("rm", "-f", id);
});

test("lines of a while in which the hub was away are fetched", async () => {
  const script = "i=0; while true; do i=$((i+1)); echo away $i; sleep 0.05; done";
  const id = await run("away", script);
  await until("storing", async () => (await stored("away")).length > 5);
  assert.equal(await hub.process.stop(), 0);
  const journals = (await readdir(path.join(hub.env.KOBEL_DATA, "logs"))).filter((file) =>
    file.startsWith("journal"),
  );
  assert.deepEqual(journals, [], "all was packed at the end");
  await new Promise((resolve) => setTimeout(resolve, 1500));
  await hub.up();
  await docker.run("kill", id);
  const said = await truth(id);
  await until("storing", async () => (await stored("away")).length >= said.length);
  assert.deepEqual((await stored("away")).map(raw), said);

  // A viewer finds the lines of before, too.
  const socket = await hub.client(token);
  const history = next(socket, "logHistory");
  await subscribe(socket, { type: "container", id, options: { logs: true } });
  const { logs } = await history;
  assert.deepEqual(
    logs.filter((line) => !line.marker).map((line) => line.message),
    said.slice(-1000),
  );
  socket.disconnect();
});

test("a full disk stops the store and nothing else", async (t) => {
  const small = await Hub.start({ docker, args: ["--log-store-size", "10MB"] });
  const folder = path.join(small.env.KOBEL_DATA, "logs");
  t.after(async () => {
    await small.process.stop();
    await command("umount", [folder]).catch(() => {});
    await small.stop();
  });
  await small.process.stop();
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder);
  await command("mount", ["-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]);
  await small.up();
  const script = "i=0; while true; do i=$((i+1)); echo full $i; sleep 0.02; done";
  const id = await run("full", script);
  token = await small.token("small");
  await until("storing", async () => (await stored("full", small)).length > 10);
  const ballast = path.join(folder, "ballast");
  await command("sh", ["-c", `dd if=/dev/zero of=${ballast} bs=64k 2>/dev/null || true`]);
  const fault = async () => (await search({ q: "none" }, small)).store.fault;
  assert.match(await until("saying so", fault), /disk of the data folder is full/);

  const socket = await small.client(token);
  const batch = next(socket, "logBatch");
  await subscribe(socket, { type: "container", id, options: { logs: true } });
  assert.match((await batch).logs[0].message, /^full \d+$/, "live goes on");
  socket.disconnect();
  assert.match(await small.metrics(), /\nkobel_log_store_faulty 1\n/);

  await rm(ballast);
  await until("being well again", async () => !(await fault()));
  const count = (await stored("full", small)).length;
  await until("storing", async () => (await stored("full", small)).length > count + 10);
  const { lines } = await search({ container: "full", limit: 10_000, order: "oldest" }, small);
  const lost = lines.filter((line) => line.marker === "lost");
  assert.ok(lost.length > 0, "the gap is marked");
  const missing = lost.reduce(
    (sum, line) => sum + Number(line.message.match(/^(\d+) lines/)[1]),
    0,
  );
  const numbers = lines.filter((line) => !line.marker).map((l) => Number(l.message.split(" ")[1]));
  assert.equal(new Set(numbers).size, numbers.length);
  assert.equal(numbers.length + missing, numbers.at(-1), "and counted");
  await docker.run("rm", "-f", id);
  await writeFile(path.join(folder, "segment-99999999"), "no segment at all");
  await small.process.stop("SIGKILL");
  await small.up();
  assert.ok((await stored("full", small)).length >= numbers.length, "damage costs nothing else");
});
