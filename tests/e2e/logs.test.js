// Logs of real containers, by a stock client: each line once and in order, or a gap that counts it.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Docker } from "./fixtures/docker.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";

const IMAGE = "kobel-test:latest";

let docker, hub, token, uuid;

before(async () => {
  docker = await Docker.start();
  hub = await Hub.start({ docker });
  token = await hub.token("logs");
  const socket = await hub.client(token);
  uuid = await hub.deviceUuid(socket);
  socket.disconnect();
});

after(async () => {
  await hub?.stop();
  await docker?.stop();
});

/** A container that runs a script; gives its full id once the hub knows it. */
async function run(name, script, ...options) {
  const args = ["run", "-d", "--name", name, "--network=none", ...options, IMAGE, "sh", "-c"];
  const id = (await docker.run(...args, script)).trim();
  const socket = await hub.client(token);
  const seen = next(socket, "containerUpdate", ({ data }) => data.containerId === id);
  seen.catch(() => {});
  const { data } = await subscribe(socket, { type: "device", id: uuid });
  if (!data.containers.some((container) => container.containerId === id)) await seen;
  socket.disconnect();
  return id;
}

/** What `docker logs` says, which is all that there is. */
const truth = async (id) => (await docker.run("logs", id)).split("\n").slice(0, -1);

class Follower {
  lines = [];
  gaps = [];
  histories = [];
  /** How late each live line was, by the clock of the one who wrote it, ms. */
  late = [];

  static async of(id, logs = true, options = {}) {
    const follower = new this();
    follower.socket = await hub.client(token, options);
    follower.listen();
    const history = next(follower.socket, "logHistory");
    history.catch(() => {});
    const asked = { type: "container", id, options: { logs } };
    const answer = await follower.socket.emitWithAck("subscribe", asked);
    assert.ok(answer.ok, JSON.stringify(answer));
    await history;
    return follower;
  }

  listen() {
    this.socket.on("logHistory", (history) => {
      this.histories.push(history);
      this.lines.push(...history.logs);
    });
    this.socket.on("logBatch", ({ logs }) => {
      const now = Date.now();
      for (const line of logs) this.late.push(now - Date.parse(line.timestamp));
      this.lines.push(...logs);
    });
    this.socket.on("logGap", (gap) => this.gaps.push(gap));
  }

  /** What the container wrote, without what the hub marked. */
  get written() {
    return this.lines.filter((line) => line.marker === undefined).map((line) => line.message);
  }

  get markers() {
    return this.lines.filter((line) => line.marker).map((line) => line.marker);
  }

  /** Waits until `when` holds. */
  async until(what, when, ms = 15_000) {
    const end = Date.now() + ms;
    while (!when()) {
      if (Date.now() > end) throw new Error(`${what} did not happen; ${this.lines.length} lines`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  /** Numbers rise by one, but for what is told to be missing. */
  assertContinuous() {
    const missing = this.gaps.map(({ fromSeq, toSeq }) => [fromSeq, toSeq]);
    for (let i = 1; i < this.lines.length; i++) {
      const [before, now] = [this.lines[i - 1].seq, this.lines[i].seq];
      const told = missing.some(([from, to]) => from === before + 1 && to === now - 1);
      assert.ok(now === before + 1 || told, `${before} is followed by ${now}`);
    }
  }

  close() {
    this.socket.disconnect();
  }
}

const COUNT = (pause) =>
  `i=$(cat /n 2>/dev/null || echo 0); while :; do i=$((i+1)); echo $i >/n; echo "line $i"; sleep ${pause}; done`;

test("the lines before, then each as it is written", async () => {
  const id = await run("count", COUNT("0.05"));
  await new Promise((done) => setTimeout(done, 500));
  const first = await Follower.of(id);
  assert.equal(first.histories[0].streamId, `${uuid}:${id}`);
  assert.ok(first.lines.length > 3, `${first.lines.length} lines before`);
  await first.until("live lines", () => first.late.length > 20);
  const late = [...first.late].sort((a, b) => a - b);
  assert.ok(late[Math.floor(late.length / 2)] < 250, `median ${late[late.length >> 1]} ms`);
  // A second viewer, with fewer lines before, by the same stream.
  const second = await Follower.of(id, { tail: 2 });
  assert.equal(second.histories[0].logs.length, 2);
  await docker.run("stop", "-t", "0", id);
  const all = await truth(id);
  await first.until("the last line", () => first.written.length === all.length);
  await second.until("the last line", () => second.written.at(-1) === all.at(-1));
  assert.deepEqual(first.written, all);
  assert.deepEqual(second.written, all.slice(-second.written.length));
  first.assertContinuous();
  first.close();
  second.close();
});

test("killed and started again: nothing is lost or repeated, and it is marked", async () => {
  const id = await run("again", COUNT("0.01"));
  const follower = await Follower.of(id);
  for (let round = 0; round < 3; round++) {
    await new Promise((done) => setTimeout(done, 400));
    await docker.run("kill", id);
    await docker.run("start", id);
  }
  await new Promise((done) => setTimeout(done, 400));
  await docker.run("kill", id);
  const all = await truth(id);
  await follower.until("the last line", () => follower.written.length >= all.length);
  assert.deepEqual(follower.written, all);
  assert.ok(follower.markers.filter((marker) => marker === "started").length >= 3);
  follower.assertContinuous();
  follower.close();
});

test("a container that is made anew goes on in the same stream", async () => {
  const script = (from) =>
    `i=${from}; while :; do i=$((i+1)); echo "line $i"; test $((i % 20)) = 0 && sleep 0.05; done`;
  const make = (name, from) =>
    docker.run(
      "run",
      "-d",
      "--name",
      name,
      "--network=none",
      ...LABELS,
      IMAGE,
      "sh",
      "-c",
      script(from),
    );
  const LABELS = ["com.docker.compose.project=shop", "com.docker.compose.service=web"].flatMap(
    (label) => ["--label", label],
  );
  const first = await run("shop-web-1", script(0), ...LABELS);
  const follower = await Follower.of(first);
  const all = [];
  const end = async (id) => {
    await docker.run("kill", id);
    all.push(...(await truth(id)));
    await docker.run("rm", id);
  };
  // Removed, then made again, a few times.
  let id = first;
  for (let round = 1; round <= 3; round++) {
    await new Promise((done) => setTimeout(done, 300));
    await end(id);
    id = (await make("shop-web-1", round * 1_000_000)).trim();
    const begin = `line ${round * 1_000_000 + 1}`;
    await follower.until(`round ${round}`, () => follower.written.includes(begin));
  }
  // As Compose does it: the new one is there under another name before the old one goes.
  const meanwhile = `${id.slice(0, 12)}_shop-web-1`;
  const made = ["create", "--name", meanwhile, "--network=none", ...LABELS, IMAGE, "sh", "-c"];
  const last = (await docker.run(...made, script(9_000_000))).trim();
  await end(id);
  await docker.run("rename", last, "shop-web-1");
  const started = Date.now();
  await docker.run("start", last);
  await follower.until("the last one", () => follower.written.includes("line 9000001"));
  // The engine's event wakes the follow: it does not wait until it looks again.
  assert.ok(Date.now() - started < 1_500, `${Date.now() - started} ms`);
  const late = await Follower.of(last);
  assert.deepEqual(late.histories[0].epoch, follower.histories[0].epoch);
  await end(last);
  await follower.until("the last line", () => follower.written.length >= all.length);
  assert.deepEqual(follower.written, all);
  follower.assertContinuous();
  assert.equal(follower.histories.length, 1, "one subscription");
  const marks = follower.lines.filter(({ marker }) => marker === "recreated");
  assert.equal(marks.length, 4);
  // By the name that it had then: the rename comes at about the same time.
  assert.equal(marks[3].fields.containerId, last);
  assert.ok([meanwhile, "shop-web-1"].includes(marks[3].fields.name), marks[3].fields.name);
  await late.until("the last line", () => late.written.at(-1) === all.at(-1));
  late.close();
  follower.close();
});

test("the daemon restarted in the middle: nothing is lost or repeated", async () => {
  const id = await run("through", COUNT("0.02"));
  const follower = await Follower.of(id);
  await follower.until("lines", () => follower.late.length > 10);
  await docker.down();
  await new Promise((done) => setTimeout(done, 700));
  await docker.up();
  const before = follower.lines.length;
  await follower.until("lines after it", () => follower.lines.length > before + 50, 30_000);
  await docker.run("kill", id);
  const all = await truth(id);
  await follower.until("the last line", () => follower.written.length >= all.length);
  assert.deepEqual(follower.written, all);
  follower.assertContinuous();
  follower.close();
});

test("who loses the connection goes on where it was", async () => {
  const id = await run("resume", COUNT("0.02"));
  const before = await Follower.of(id);
  await before.until("lines", () => before.late.length > 10);
  before.socket.io.engine.close();
  const { epoch } = before.histories[0];
  await new Promise((done) => setTimeout(done, 500));
  const after = await Follower.of(id, { since: { epoch, seq: before.lines.at(-1).seq } });
  assert.equal(after.lines[0].seq, before.lines.at(-1).seq + 1);
  await docker.run("kill", id);
  const all = await truth(id);
  const both = () => [...before.written, ...after.written];
  await after.until("the last line", () => both().length >= all.length);
  assert.deepEqual(both(), all);
  after.close();
});

test("filters run in the hub, and changing one is a new subscribe", async () => {
  const script = `i=0; while :; do i=$((i+1)); echo "INFO fine $i"; echo "WARN odd $i" >&2; echo '{"level":"error","msg":"bad '$i'","user":"u'$((i%2))'"}'; sleep 0.05; done`;
  const id = await run("mixed", script);
  for (const [filters, holds] of [
    [{ level: "warn" }, (line) => ["warn", "error"].includes(line.level)],
    [{ text: "FINE" }, (line) => /fine/.test(line.message)],
    [{ regex: "odd \\d*[02468]$" }, (line) => /odd \d*[02468]$/.test(line.message)],
    [{ text: "fine", inverse: true }, (line) => !/fine/.test(line.message)],
    [{ stream: "stderr" }, (line) => line.stream === "stderr"],
    [{ fields: { user: "u1" } }, (line) => line.fields?.user === "u1"],
  ]) {
    const follower = await Follower.of(id, { filters });
    await follower.until("live lines", () => follower.late.length > 5);
    assert.ok(follower.histories[0].logs.length > 0, JSON.stringify(filters));
    for (const line of follower.lines) assert.ok(holds(line), JSON.stringify([filters, line]));
    if (filters.level) {
      const again = next(follower.socket, "logHistory");
      const logs = { filters: { text: "fine" } };
      await follower.socket.emitWithAck("subscribe", { type: "container", id, options: { logs } });
      assert.ok((await again).logs.every((line) => line.message.startsWith("INFO fine")));
    }
    follower.close();
  }
  const socket = await hub.client(token);
  for (const [logs, message] of [
    [{ filters: { regex: "(" } }, /^options\.logs\.filters\.regex:/],
    [{ tail: "x" }, /^options\.logs\.tail:/],
    [7, /^options\.logs:/],
  ]) {
    const refused = await socket.emitWithAck("subscribe", {
      type: "container",
      id,
      options: { logs },
    });
    assert.equal(refused.error.code, "BAD_REQUEST");
    assert.match(refused.error.message, message);
  }
  socket.disconnect();
  await docker.run("rm", "-f", id);
});

test("a terminal, rubbish and a line of a megabyte", async () => {
  const tty = await run(
    "tty",
    `while :; do printf '\\033[31mred\\033[0m ü\\n'; sleep 0.1; done`,
    "-t",
  );
  const rubbish = await run(
    "rubbish",
    "dd if=/dev/urandom bs=1000 count=100 2>/dev/null; echo; echo end; sleep 100",
  );
  const long = await run(
    "long",
    `dd if=/dev/zero bs=1000 count=1000 2>/dev/null | tr '\\0' x; echo; echo end; sleep 100`,
  );
  const red = await Follower.of(tty);
  await red.until("lines", () => red.lines.length > 3);
  const [line] = red.lines;
  assert.deepEqual([line.message, line.raw], ["red ü", "\u001b[31mred\u001b[0m ü"]);
  const bytes = await Follower.of(rubbish);
  await bytes.until("the end", () => bytes.written.at(-1) === "end");
  bytes.assertContinuous();
  const wide = await Follower.of(long);
  await wide.until("the end", () => wide.written.at(-1) === "end");
  const cut = wide.lines.find((each) => each.cut > 0);
  assert.ok(cut, "the long line is cut and says so");
  assert.equal(cut.message.length + cut.cut, 1_000_000);
  for (const follower of [red, bytes, wide]) follower.close();
  await docker.run("rm", "-f", tty, rubbish, long);
});

test("one follow for all viewers, which ends when the last has gone", async () => {
  const id = await run("crowd", COUNT("0.1"));
  const streams = async () => Number((await hub.metrics()).match(/^kobel_log_streams (\d+)$/m)[1]);
  const viewers = await Promise.all(
    Array.from({ length: 60 }, (_, n) =>
      Follower.of(id, n % 3 ? true : { filters: { text: String(n % 4) } }, {
        transports: ["websocket"],
      }),
    ),
  );
  const others = await streams();
  assert.ok(others >= 1);
  const crowd = viewers.filter((_, n) => n % 3);
  await crowd[0].until("lines", () => crowd.every((viewer) => viewer.late.length > 5));
  for (const viewer of viewers) viewer.close();
  await docker.run("kill", id);
  await crowd[0].until("the end of all follows", () => true);
  const end = Date.now() + 15_000;
  while ((await streams()) > 0 && Date.now() < end) await new Promise((d) => setTimeout(d, 200));
  assert.equal(await streams(), 0);
});

test("a flood slows no other log and no metric, and what it loses is counted", async () => {
  const quiet = await run("quiet", COUNT("0.1"));
  // Lines of a file, again and again: as fast as the engine takes them.
  const flood = await run(
    "flood",
    `i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo "flood $i of many lines that come at once"; done >/lines; sleep 2; j=0; while [ $j -lt 100 ]; do j=$((j+1)); cat /lines; done; echo "the end"; sleep 100`,
  );
  const calm = await Follower.of(quiet);
  const socket = await hub.client(token);
  const ticks = [];
  socket.on("stats", () => ticks.push(Date.now()));
  const asked = { type: "device", id: uuid, options: { rate: 1 } };
  await socket.emitWithAck("subscribe", asked);
  const wet = await Follower.of(flood, { tail: 0 });
  const before = calm.late.length;
  await wet.until("the end", () => wet.written.at(-1) === "the end", 60_000);
  const late = calm.late.slice(before).sort((a, b) => a - b);
  const p95 = late[Math.floor(late.length * 0.95)];
  console.log(
    `flood: ${wet.lines.length} lines, ${wet.gaps.length} gaps; the quiet log p95 ${p95} ms`,
  );
  assert.ok(p95 < 1_000, `a quiet log's lines are ${p95} ms late`);
  const pauses = ticks.slice(1).map((at, i) => at - ticks[i]);
  assert.ok(Math.max(...pauses) < 2_500, `samples came ${pauses.join(", ")} ms apart`);
  const dropped = wet.gaps.reduce((sum, gap) => sum + gap.dropped, 0);
  assert.equal(wet.written.length + dropped, 200_001);
  assert.ok((await hub.memory()) < 200e6, `${await hub.memory()} bytes`);
  wet.assertContinuous();
  for (const follower of [calm, wet]) follower.close();
  socket.disconnect();
  await docker.run("rm", "-f", quiet, flood);
});

test("who may not see the container gets none of its lines", async () => {
  const id = await run("secret", "while :; do echo secret; sleep 0.05; done");
  const other = "0198c0de-0000-7000-8000-0000000000ab";
  const socket = await hub.client(await hub.token("narrow", "--device", other));
  const heard = [];
  socket.onAny((event) => heard.push(event));
  const refused = await socket.emitWithAck("subscribe", {
    type: "container",
    id,
    options: { logs: true },
  });
  assert.equal(refused.error.code, "UNAUTHORIZED");
  await new Promise((done) => setTimeout(done, 500));
  assert.deepEqual(heard, ["error"]);
  socket.disconnect();
  // Masked before anybody sees it.
  const leak = await run(
    "leak",
    `while :; do echo "Authorization: Bearer abcdefghijklmnop0123456789"; sleep 0.1; done`,
  );
  const follower = await Follower.of(leak);
  await follower.until("lines", () => follower.lines.length > 2);
  assert.ok(!JSON.stringify(follower.lines).includes("abcdefghijklmnop"));
  follower.close();
  await docker.run("rm", "-f", id, leak);
});

test("how much each container says is told: in its room, as a list and to Prometheus", async () => {
  const line = "a line of thirty letters and more";
  const loud = await run("loud", `while :; do echo "${line}"; sleep 0.01; done`);
  const soft = await run("soft", `while :; do echo "${line}"; sleep 0.5; done`);
  const followers = [await Follower.of(loud), await Follower.of(soft)];
  const told = await next(
    followers[0].socket,
    "logVolume",
    ({ data }) => data.linesPerSecond > 5,
    20_000,
  );
  assert.equal(told.room, `container:${loud}`);
  assert.ok(told.data.bytesPerSecond > 33 * 5, JSON.stringify(told));
  assert.ok(told.data.lagMs < 2_000 && told.data.dropped === 0, JSON.stringify(told));
  const { data } = await subscribe(followers[1].socket, { type: "container", id: loud });
  assert.ok(data.logVolume.lines >= told.data.lines);

  const ask = async (with_, query = "") => {
    const headers = { Authorization: `Bearer ${with_}` };
    const answer = await fetch(`${hub.url}/api/v1/logs/volume${query}`, { headers });
    assert.equal(answer.status, 200);
    return answer.json();
  };
  const { streams, total } = await ask(token);
  // Others of this file may have been louder within the minute: each has its place.
  const rates = streams.map((stream) => stream.bytesPerSecond);
  assert.deepEqual(
    rates,
    rates.toSorted((a, b) => b - a),
  );
  const at = (id) => streams.findIndex((stream) => stream.containerId === id);
  assert.ok(at(loud) >= 0 && at(loud) < at(soft), JSON.stringify(streams));
  assert.equal(streams[at(loud)].streamId, `${uuid}:${loud}`);
  const [noisy, quiet] = [loud, soft].map((id) => streams.find((s) => s.containerId === id));
  assert.deepEqual([noisy.name, quiet.name], ["loud", "soft"]);
  assert.ok(noisy.bytesPerSecond > 3 * quiet.bytesPerSecond, JSON.stringify([noisy, quiet]));
  assert.ok(total.streams >= 2 && total.bytesPerSecond >= noisy.bytesPerSecond);
  assert.equal((await ask(token, "?top=1")).streams.length, 1);
  const other = "0198c0de-0000-7000-8000-0000000000ab";
  const blind = await ask(await hub.token("deaf", "--device", other));
  assert.deepEqual(blind, {
    streams: [],
    total: { linesPerSecond: 0, bytesPerSecond: 0, streams: 0 },
  });

  const metrics = await hub.metrics();
  const own = metrics.match(
    /^kobel_log_stream_lines_total\{device="[^"]+",container="loud"\} (\d+)$/m,
  );
  assert.ok(
    Number(own?.[1]) >= told.data.lines,
    metrics.match(/.*kobel_log_stream.*/g)?.join("\n"),
  );
  assert.match(metrics, /^kobel_log_stream_lines_total\{device="",container="other"\} \d+$/m);
  assert.match(
    metrics,
    /^kobel_log_stream_lag_seconds\{device="[^"]+",container="soft"\} [\d.]+$/m,
  );
  for (const follower of followers) follower.close();
  await docker.run("rm", "-f", loud, soft);
});
