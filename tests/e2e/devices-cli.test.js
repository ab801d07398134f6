// kobel device: against a real sshd, with and beside a running hub.
import assert from "node:assert/strict";
import { once } from "node:events";
import { spawn } from "node:child_process";
import { readdir, readFile, writeFile, mkdir } from "node:fs/promises";
import path from "node:path";
import { after, before, test } from "node:test";
import { Hub, next, subscribe } from "./fixtures/hub.js";
import { request, sendJson } from "./fixtures/http.js";
import { run } from "./fixtures/process.js";
import { Sshd } from "./fixtures/sshd.js";

let hub;
let sshd;
let admin;

before(async () => {
  sshd = await Sshd.start();
  hub = await Hub.start({ args: ["--log", "debug"] });
  admin = await hub.token("admin", "--role", "admin");
});

after(async () => {
  await hub?.stop();
  await sshd?.stop();
});

/** `kobel device …`, however it ends: {code, out, err}. */
async function device(args, input = "") {
  const child = spawn(hub.binary, ["device", ...args], { env: hub.env });
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  const said = { out: "", err: "" };
  child.stdout.on("data", (data) => (said.out += data));
  child.stderr.on("data", (data) => (said.err += data));
  const [code] = await once(child, "close");
  return { code, ...said };
}

const bearer = () => ({ Authorization: `Bearer ${admin}` });
const lines = (text) =>
  text
    .trim()
    .split("\n")
    .map((line) => JSON.parse(line));

test("a host is added by one line: host key confirmed, the hub's own key, then it is read", async () => {
  const unconfirmed = await device(["add", sshd.address, "--name", "real"]);
  assert.equal(unconfirmed.code, 1);
  assert.ok(unconfirmed.err.includes(`--accept-host-key ${sshd.fingerprint}`), unconfirmed.err);
  assert.equal((await device(["show", "real"])).code, 1, "nothing was added");

  const options = ["--name", "real", "--tag", "web", "--hub-key"];
  const added = await device([
    "add",
    sshd.address,
    ...options,
    "--accept-host-key",
    sshd.fingerprint,
  ]);
  assert.equal(added.code, 0, added.err);
  assert.match(added.err, /sign in +failed/);
  const line = added.err.match(/^restrict,port-forwarding ssh-ed25519 \S+ kobel$/m)?.[0];
  assert.ok(line, added.err);
  assert.equal((await device(["key"])).out, `${line}\n`);
  const refused = await device(["test", "real"]);
  assert.equal(refused.code, 1);

  await sshd.authorize(`${line}\n`);
  const tested = await device(["test", "real"]);
  assert.equal(tested.code, 0, tested.err);
  for (const step of ["resolve", "connect", "host key", "sign in", "shell", "metrics"])
    assert.match(tested.err, new RegExp(`${step} +ok`), step);
});

test("the steps of a test stream by HTTP, with the host's key and what to do", async () => {
  const post = (at, body) => sendJson(hub, "POST", `/api/v1/devices${at}`, body, bearer());
  const unknown = await post("/test", { address: sshd.address });
  assert.equal(unknown.headers["content-type"], "application/x-ndjson");
  const steps = lines(unknown.text);
  const key = steps.find((step) => step.step === "host-key");
  assert.equal(key.state, "failed");
  assert.deepEqual(
    [key.host, key.fingerprint, key.known],
    [`127.0.0.1:${sshd.port}`, sshd.fingerprint, "unknown"],
  );
  assert.match(key.remedy, /ssh-keygen -lf/);
  assert.deepEqual(
    steps.map((step) => step.step),
    ["resolve", "connect", "host-key", "sign-in", "shell", "metrics", "docker", undefined],
  );
  assert.deepEqual(steps.at(-1), { done: true, ok: false });
  const ssh = { hostKeys: [{ fingerprint: sshd.fingerprint }] };
  const known = lines((await post("/test", { address: sshd.address, ssh })).text);
  assert.deepEqual(known.at(-1), { done: true, ok: true });
  assert.ok(known.slice(0, 6).every((step) => step.state === "ok"));

  const { devices } = (await request(hub, "/api/v1/devices?q=real", { headers: bearer() })).json;
  const uuid = devices[0].deviceUuid;
  const wrong = `SHA256:${"a".repeat(43)}`;
  const changed = lines(
    (await post(`/${uuid}/test`, { ssh: { hostKeys: [{ fingerprint: wrong }] } })).text,
  );
  const seen = changed.find((step) => step.step === "host-key");
  assert.deepEqual([seen.known, seen.fingerprint], ["changed", sshd.fingerprint]);
  assert.ok(seen.message.includes(wrong) && seen.message.includes(sshd.fingerprint));
});

test("what the command line changes is live in the hub within about a second", async () => {
  const socket = await hub.client(admin);
  await subscribe(socket, { type: "fleet" });
  const there = next(socket, "deviceEntry", ({ data }) => data.name === "later");
  const begun = Date.now();
  const added = await device(["add", "me@127.0.0.1:1", "--name", "later", "--no-test"]);
  assert.equal(added.code, 0, added.err);
  await there;
  assert.ok(Date.now() - begun < 1_500, `${Date.now() - begun} ms`);
  const sorted = next(socket, "deviceEntry", ({ data }) => data.group === "g");
  await device(["edit", "later", "--group", "g", "--add-tag", "x"]);
  assert.deepEqual((await sorted).data.tags, ["x"]);
  const gone = next(socket, "deviceRemoved", ({ data }) => data.name === "later");
  await device(["rm", "later"]);
  await gone;
  socket.disconnect();
  assert.equal((await device(["purge", "later"])).code, 1, "nobody confirmed");
  assert.equal((await device(["purge", "later", "--yes"])).code, 0);
  const log = await request(hub, "/api/v1/audit?limit=1", { headers: bearer() });
  assert.deepEqual(
    [log.json.entries[0].action, log.json.entries[0].actor.kind],
    ["device.purge", "cli"],
  );
});

test("lists, shows, and errors that say what to do", async () => {
  const list = await device(["list"]);
  assert.match(list.out, /real +ssh +ssh:\/\/root@127\.0\.0\.1:\d+ +web +yes/);
  const shown = JSON.parse((await device(["show", "real", "--json"])).out);
  assert.equal(shown.ssh.hostKeys[0].fingerprint, sshd.fingerprint);
  for (const [args, why] of [
    [["show", "nobody"], /kobel device list/],
    [["add", "me@127.0.0.1:1", "--name", "real", "--no-test"], /name: the device "real" has real/],
    [["add", "ssh://me:hunter2@host"], /a password does not belong in an address/],
    [["add", "-oProxyCommand=x"], /unexpected argument|is no host/],
    [["edit", "real"], /nothing to change/],
    [["edit", "real", "--period", "99"], /options.period: use 1 to 60/],
    [["test", "1"], /not read over SSH|no device/],
  ]) {
    const said = await device(args);
    assert.notEqual(said.code, 0, args.join(" "));
    assert.match(said.err, why);
    assert.ok(!said.err.includes("hunter2"));
  }
});

test("inventories are imported and exported", async () => {
  const ini = path.join(hub.dir, "hosts.ini");
  await writeFile(
    ini,
    "[blue]\nb[1:2] ansible_host=127.0.0.1 ansible_port=1 ansible_user=u\n" +
      "b3 ansible_host=127.0.0.2 ansible_user=u ansible_password=planted-in-ini\n" +
      "bad ansible_connection=winrm\nreal ansible_user=u\n",
  );
  const dry = await device(["import", ini, "--dry-run"]);
  assert.match(dry.out, /line 2: b1 would be taken as ssh:\/\/u@127\.0\.0\.1:1/);
  assert.match(dry.out, /line 4: bad left out: ansible_connection=winrm/);
  assert.match(dry.out, /real left out: name: the device "real"/);
  assert.ok(!(await device(["list"])).out.includes("b1"));
  const done = await device(["import", ini, "--tag", "imported", "--json"]);
  const { taken, left } = JSON.parse(done.out);
  // b1 and b2 have one address: the second is the first's.
  assert.deepEqual([taken.map((d) => d.name), left.length], [["b1", "b3"], 3]);
  assert.ok(!done.out.includes("planted-in-ini"));
  const b3 = JSON.parse((await device(["show", "b3", "--json"])).out);
  assert.deepEqual([b3.group, b3.tags], ["blue", ["blue", "imported"]]);

  const csv = (await device(["export", "--format", "csv"])).out;
  assert.match(csv, /,b3,ssh,ssh:\/\/u@127\.0\.0\.2,blue,"blue,imported",true,\r\n/);
  const yaml = path.join(hub.dir, "out.yaml");
  await writeFile(yaml, (await device(["export", "--format", "ansible"])).out);
  const again = await device(["import", yaml, "--dry-run"]);
  assert.match(again.out, /0 would be taken, 3 left out/, "they are all there already");
  const json = JSON.parse((await device(["export"])).out);
  assert.ok(json.some((d) => d.name === "b3") && !JSON.stringify(json).includes("sealed"));

  await mkdir(path.join(hub.dir, ".ssh"), { recursive: true });
  await writeFile(
    path.join(hub.dir, ".ssh/config"),
    "Host alias\n  HostName 127.0.0.3\n  User someone\n  Port 1\n  ProxyJump gate\nHost gate\n  HostName 127.0.0.4\n  User jumper\n",
  );
  const config = await device(["import", "--dry-run"]);
  assert.match(config.out, /alias would be taken as ssh:\/\/someone@127\.0\.0\.3:1/);
  assert.equal((await device(["add", "alias", "--no-test"])).code, 0);
  const alias = JSON.parse((await device(["show", "alias", "--json"])).out);
  assert.deepEqual(alias.ssh.jump, ["ssh://jumper@127.0.0.4"]);

  const pasted = await sendJson(
    hub,
    "POST",
    "/api/v1/devices/import",
    { format: "ssh-config", text: "Host pasted\n  HostName 127.0.0.5\n", user: "me" },
    bearer(),
  );
  assert.equal(pasted.json.taken[0].address, "ssh://me@127.0.0.5");
});

test("a planted password and a planted key are nowhere to be read", async () => {
  const password = "planted-password-4711";
  const keyFile = await sshd.keygen("planted", "planted-passphrase-4711");
  const key = await readFile(keyFile, "utf8");
  const middle = key.split("\n")[2];
  const by = await device(
    ["add", "me@127.0.0.1:1", "--name", "by-password", "--password-stdin"],
    `${password}\n`,
  );
  assert.equal(by.code, 0, by.err);
  const body = {
    address: sshd.address.replace("127.0.0.1", "localhost"),
    name: "by-key",
    secrets: { privateKey: key, passphrase: "planted-passphrase-4711" },
    ssh: { hostKeys: [{ fingerprint: sshd.fingerprint }] },
  };
  const tried = await sendJson(hub, "POST", "/api/v1/devices/test", body, bearer());
  const made = await sendJson(hub, "POST", "/api/v1/devices", body, bearer());
  assert.equal(made.status, 201, made.text);
  const wrong = { ...body, secrets: { password: [password], privateKey: key } };
  const refused = await sendJson(hub, "POST", "/api/v1/devices", wrong, bearer());
  assert.equal(refused.json.error.field, "secrets.password");
  const texts = [by.out, by.err, tried.text, made.text, refused.text, hub.process.output];
  for (const at of ["/devices", "/audit", `/devices/${made.json.deviceUuid}`])
    texts.push((await request(hub, `/api/v1${at}`, { headers: bearer() })).text);
  texts.push(await hub.metrics(), (await device(["export"])).out, (await device(["list"])).out);
  const processes = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  for (const pid of processes)
    texts.push(await readFile(`/proc/${pid}/cmdline`, "latin1").catch(() => ""));
  const data = path.join(hub.dir, "data");
  for (const file of await readdir(data, { recursive: true }))
    texts.push(await readFile(path.join(data, file), "latin1").catch(() => ""));
  for (const secret of [password, "planted-passphrase-4711", middle])
    texts.forEach((text, n) => assert.ok(!text.includes(secret), `${secret} in text ${n}`));

  // Sealed with another key they are all still there.
  const before = await readFile(path.join(data, "secret.key"), "utf8");
  await run(hub.binary, ["secret", "rotate"], { env: hub.env });
  assert.notEqual(await readFile(path.join(data, "secret.key"), "utf8"), before);
  await sshd.authorize(`${await sshd.public("planted")}${(await device(["key"])).out}`);
  const tested = await device(["test", "by-key"]);
  assert.match(tested.err, /sign in +ok/, tested.err);
});

test("names with quotes, dollars and dots reach no shell and no path", async () => {
  const names = ['o\'neil "x"', `$(touch ${hub.dir}/pwned)`, "`id`", "../../etc/passwd", "-rf"];
  for (const [n, name] of names.entries()) {
    const address = `o'n$(touch\u00a0x)${n}`.replace("\u00a0", "-");
    const added = await device([
      "add",
      `ssh://${address}@127.0.0.1:${sshd.port}`,
      `--name=${name}`,
      "--accept-host-key",
      sshd.fingerprint,
    ]);
    assert.equal(added.code, 0, added.err);
    const shown = await device(["show", "--json", "--", name]);
    assert.equal(JSON.parse(shown.out).name, name, shown.err);
    assert.equal((await device(["rm", "--", name])).code, 0);
  }
  assert.ok(!(await readdir(hub.dir)).includes("pwned"));
});
