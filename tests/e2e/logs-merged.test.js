// The lines of several containers in one view: by their time, each once, of those that one may see.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Docker } from "./fixtures/docker.js";
import { Hub, next, subscribe } from "./fixtures/hub.js";

const IMAGE = "kobel-test:latest";

let docker, hub, token, uuid;

before(async () => {
  docker = await Docker.start();
  hub = await Hub.start({ docker });
  token = await hub.token("merged");
  const socket = await hub.client(token);
  uuid = await hub.deviceUuid(socket);
  socket.disconnect();
});

after(async () => {
  await hub?.stop();
  await docker?.stop();
});

/** A container of a Compose project that runs a script; gives its full id. */
async function run(name, project, script, ...options) {
  const labels = [`com.docker.compose.project=${project}`, `com.docker.compose.service=${name}`];
  const args = ["run", "-d", "--name", name, "--network=none", ...options];
  for (const label of labels) args.push("--label", label);
  return (await docker.run(...args, IMAGE, "sh", "-c", script)).trim();
}

const COUNT = (name, pause) =>
  `i=0; while :; do i=$((i+1)); echo "${name} $i"; sleep ${pause}; done`;

const truth = async (id) => (await docker.run("logs", id)).split("\n").slice(0, -1);

class View {
  lines = [];
  gaps = [];
  histories = [];
  batches = [];
  /** The names of the members, as they were told one after the other. */
  members = [];

  static async of(id, logs = true, as = token) {
    const view = new this();
    view.socket = await hub.client(as);
    view.id = id;
    view.socket.on("logHistory", (history) => view.add(view.histories, history));
    view.socket.on("logBatch", (batch) => view.add(view.batches, batch));
    view.socket.on("logGap", (gap) => view.gaps.push(gap));
    view.socket.on("logMembers", ({ data }) => view.member(data));
    view.socket.on("initialData", ({ data }) => view.member(data));
    await view.again(logs);
    return view;
  }

  async again(logs) {
    const history = next(this.socket, "logHistory");
    history.catch(() => {});
    const request = { type: "logs", id: this.id, options: { logs } };
    this.answer = await this.socket.emitWithAck("subscribe", request);
    assert.ok(this.answer.ok, JSON.stringify(this.answer));
    await history;
  }

  add(list, message) {
    assert.equal(message.streamId, this.id);
    assert.equal(message.room, `logs:${this.id}`);
    const times = message.logs.map((line) => Date.parse(line.timestamp));
    for (let i = 1; i < times.length; i++)
      assert.ok(times[i] >= times[i - 1] - 2_000, "by their time");
    list.push(message);
    this.lines.push(...message.logs);
  }

  member({ members, truncated }) {
    assert.equal(truncated, 0);
    this.members.push(members.map(({ name }) => name));
  }

  /** What one container wrote, without what the hub marked. */
  written(id) {
    const own = this.lines.filter((line) => line.streamId === `${uuid}:${id}` && !line.marker);
    return own.map((line) => line.message);
  }

  async until(what, when, ms = 20_000) {
    const end = Date.now() + ms;
    while (!(await when())) {
      if (Date.now() > end) throw new Error(`${what} did not happen; ${this.lines.length} lines`);
      await new Promise((done) => setTimeout(done, 20));
    }
  }

  close() {
    this.socket.disconnect();
  }
}

/** Waits until the hub knows these containers. */
async function known(...ids) {
  const socket = await hub.client(token);
  const end = Date.now() + 10_000;
  for (;;) {
    const { data } = await subscribe(socket, { type: "device", id: uuid });
    const there = new Set(data.containers.map((container) => container.containerId));
    if (ids.every((id) => there.has(id))) break;
    if (Date.now() > end) throw new Error("the containers did not become known");
    await new Promise((done) => setTimeout(done, 50));
  }
  socket.disconnect();
}

test("a project's containers in one, by their time, each line once", async () => {
  const web = await run("web", "shop", COUNT("web", 0.03));
  const db = await run("db", "shop", COUNT("db", 0.05));
  const other = await run("other", "else", COUNT("other", 0.05));
  await known(web, db, other);
  await new Promise((done) => setTimeout(done, 500));
  const view = await View.of("project:shop", { tail: 1000 });
  assert.equal(view.answer.room, "logs:project:shop");
  assert.deepEqual(view.members, [["db", "web"]]);
  assert.equal(view.histories.length, 1);
  assert.ok(view.histories[0].logs.length > 10, `${view.histories[0].logs.length} lines before`);
  // Another way to the same, with another filter, at the same time.
  const few = await View.of(`project:${uuid}/shop`, { filters: { regex: "^web" } });
  await view.until("live lines", () => view.batches.length > 20);
  // The times of all that came, one after the other, hardly ever go back.
  const times = view.lines.map((line) => Date.parse(line.timestamp));
  const back = times.slice(1).filter((time, i) => time < times[i]).length;
  assert.ok(back <= times.length / 50, `${back} of ${times.length} lines out of order`);
  // Nobody reads a container twice for it.
  const streams = Number((await hub.metrics()).match(/^kobel_log_streams (\d+)$/m)[1]);
  assert.equal(streams, 3);

  // One that is new, one that goes.
  const cache = await run("cache", "shop", COUNT("cache", 0.02));
  await view.until("the new one", () => view.written(cache).length > 20);
  assert.deepEqual(view.members.at(-1), ["cache", "db", "web"]);
  for (const id of [web, db, cache]) await docker.run("kill", id);
  const said = { [web]: await truth(web), [db]: await truth(db), [cache]: await truth(cache) };
  for (const [id, lines] of Object.entries(said)) {
    await view.until("the last line", () => view.written(id).at(-1) === lines.at(-1));
    assert.deepEqual(view.written(id), lines);
  }
  await few.until("the last line", () => few.written(web).at(-1) === said[web].at(-1));
  assert.deepEqual(few.written(db), []);
  assert.deepEqual(few.written(web), said[web].slice(-few.written(web).length));
  assert.deepEqual(view.gaps, []);
  assert.deepEqual(view.written(other), []);
  await docker.run("rm", web);
  await view.until("its going", () => view.members.at(-1).length === 2);
  assert.deepEqual([...view.members.at(-1)].sort(), ["cache", "db"]);
  view.close();
  few.close();
  await docker.run("rm", "-f", db, cache, other);
});

test("a container that is made anew goes on in the view", async () => {
  const first = await run("front", "site", COUNT("first", 0.02));
  await known(first);
  const view = await View.of(`device:${uuid}`, { tail: 1000 });
  await view.until("lines", () => view.written(first).length > 20);
  await docker.run("kill", first);
  const before = await truth(first);
  await docker.run("rm", first);
  const second = await run("front", "site", COUNT("second", 0.02));
  await view.until("the second's", () => view.written(second).length > 20);
  await docker.run("kill", second);
  const after = await truth(second);
  await view.until("the last line", () => view.written(second).at(-1) === after.at(-1));
  assert.deepEqual(view.written(first), before);
  assert.deepEqual(view.written(second), after);
  assert.deepEqual(view.members.at(-1), ["front"]);
  view.close();
  await docker.run("rm", second);
});

test("another filter, and what one may not see", async () => {
  const script = `i=0; while :; do i=$((i+1)); echo "INFO fine $i"; echo "WARN odd $i"; sleep 0.05; done`;
  const a = await run("mix-a", "mix", script);
  const b = await run("mix-b", "mix", script);
  await known(a, b);
  const view = await View.of(`containers:${a},${b}`, { filters: { level: "warn" } });
  await view.until("lines", () => view.batches.length > 5);
  for (const line of view.lines) assert.match(line.message, /^WARN odd/);
  // A filter that is wrong is refused and leaves the earlier one alone.
  const refused = await view.socket.emitWithAck("subscribe", {
    type: "logs",
    id: view.id,
    options: { logs: { filters: { regex: "(" } } },
  });
  assert.equal(refused.error.code, "BAD_REQUEST");
  const count = view.lines.length;
  await view.until("more lines", () => view.lines.length > count + 10);
  for (const line of view.lines) assert.match(line.message, /^WARN odd/);
  view.lines = [];
  await view.again({ filters: { text: "fine" } });
  await view.until("lines", () => view.lines.length > 20);
  for (const line of view.lines) assert.match(line.message, /^INFO fine/);
  view.close();

  const stranger = "0198c0de-0000-7000-8000-0000000000ab";
  const socket = await hub.client(await hub.token("narrow", "--device", stranger));
  const heard = [];
  socket.onAny((event) => heard.push(event));
  for (const id of [`device:${uuid}`, `project:${uuid}/mix`, `containers:${a},${b}`]) {
    const answer = await socket.emitWithAck("subscribe", { type: "logs", id, options: {} });
    assert.equal(answer.error.code, "UNAUTHORIZED", id);
  }
  assert.deepEqual(heard.splice(0), ["error", "error", "error"]);
  const { data } = await subscribe(socket, { type: "logs", id: "project:mix" });
  assert.deepEqual(data, { members: [], truncated: 0 });
  await new Promise((done) => setTimeout(done, 1_000));
  assert.deepEqual(heard, ["initialData", "logHistory"]);
  socket.disconnect();

  const wide = await hub.client(token);
  for (const [id, code] of [
    [`device:${stranger}`, "NOT_FOUND"],
    [`containers:${"0".repeat(64)}`, "NOT_FOUND"],
    ["everything", "BAD_REQUEST"],
  ]) {
    const answer = await wide.emitWithAck("subscribe", { type: "logs", id });
    assert.equal(answer.error.code, code, id);
  }
  wide.disconnect();
  await docker.run("rm", "-f", a, b);
});

test("a flood in the view is counted where it loses, and the others are not lost in it", async () => {
  const quiet = await run("quiet", "storm", COUNT("quiet", 0.1));
  const flood = await run(
    "flood",
    "storm",
    `i=0; while [ $i -lt 2000 ]; do i=$((i+1)); echo "flood $i of many lines at once"; done >/lines; sleep 2; j=0; while [ $j -lt 50 ]; do j=$((j+1)); cat /lines; done; echo "the end"; sleep 100`,
  );
  await known(quiet, flood);
  const view = await View.of("project:storm", { tail: 0 });
  await view.until("the end", () => view.written(flood).at(-1) === "the end", 90_000);
  const dropped = view.gaps.reduce((sum, gap) => sum + gap.dropped, 0);
  const calm = view.written(quiet).map((line) => Number(line.split(" ")[1]));
  const gone = calm.at(-1) - calm[0] + 1 - calm.length;
  console.log(
    `flood in a view: ${view.written(flood).length} lines, ${dropped} told missing, ${gone} of the quiet one`,
  );
  // What its viewer was too slow for may be of either.
  const shown = view.written(flood).length + calm.length;
  assert.equal(shown + dropped, 100_001 + calm.at(-1) - calm[0] + 1);
  assert.deepEqual(
    calm,
    [...calm].sort((x, y) => x - y),
  );
  assert.ok((await hub.memory()) < 250e6, `${await hub.memory()} bytes`);
  view.close();
  await docker.run("rm", "-f", quiet, flood);
});
