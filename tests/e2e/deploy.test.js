// What `deploy/` holds: checked by the programs that it is for, and run where that needs no registry.
import assert from "node:assert/strict";
import { chmod, chown, copyFile, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { io } from "socket.io-client";
import { Docker } from "./fixtures/docker.js";
import { Hub, freePort, next, subscribe } from "./fixtures/hub.js";
import { request } from "./fixtures/http.js";
import { Postgres } from "./fixtures/postgres.js";
import { Process, run } from "./fixtures/process.js";

const DEPLOY = new URL("../../deploy/", import.meta.url);
const shown = (name) => readFile(new URL(name, DEPLOY), "utf8");

/** Replaces what must be there, or what is tested is not what is shown. */
function replace(text, from, to) {
  assert.ok(text.includes(from), from);
  return text.replaceAll(from, to);
}

let dir, postgres, hubs, token;

before(async () => {
  dir = await mkdtemp(path.join(tmpdir(), "kobel-deploy-"));
  postgres = await Postgres.start();
  const start = () =>
    Hub.start({
      args: ["--trusted-proxy", "127.0.0.1"],
      env: { KOBEL_DATABASE_URL: postgres.url },
    });
  hubs = [await start(), await start()];
  token = await hubs[0].token();
});

after(async () => {
  for (const hub of hubs ?? []) await hub.stop();
  await postgres?.stop();
  await rm(dir, { recursive: true, force: true });
});

const proxies = {
  async haproxy(port) {
    let text = replace(await shown("haproxy.cfg"), "bind :8000", `bind 127.0.0.1:${port}`);
    // The tests' limit of open files may be lower.
    text = replace(text, "maxconn 50000", "maxconn 500");
    text = replace(text, "node-a:8000", `127.0.0.1:${hubs[0].port}`);
    text = replace(text, "node-b:8000", `127.0.0.1:${hubs[1].port}`);
    const file = path.join(dir, "haproxy.cfg");
    await writeFile(file, text);
    await run("haproxy", ["-c", "-f", file]);
    return new Process("haproxy", "haproxy", ["-db", "-f", file]);
  },
  async nginx(port) {
    let text = replace(await shown("nginx.conf"), "listen 8000", `listen 127.0.0.1:${port}`);
    text = replace(text, "node-a:8000", `127.0.0.1:${hubs[0].port}`);
    text = replace(text, "node-b:8000", `127.0.0.1:${hubs[1].port}`);
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((kind) => `${kind}_temp_path ${dir}/${kind};`)
      .join("\n");
    const file = path.join(dir, "nginx.conf");
    await writeFile(
      file,
      `daemon off; master_process off; pid ${dir}/pid; error_log stderr warn;
       events { worker_connections 768; }
       http { access_log off; ${temporary}\n${text} }`,
    );
    return new Process("nginx", "nginx", ["-p", dir, "-c", file, "-e", "stderr"]);
  },
};

for (const [name, start] of Object.entries(proxies)) {
  test(`${name} before two nodes: live, and on without the one that leaves`, async (t) => {
    const port = await freePort();
    const proxy = await start(port);
    t.after(() => proxy.stop());
    const ready = () => request({ port }, "/readyz").catch(() => ({}));
    await proxy.until("serving", async () => (await ready()).status === 200);
    const connect = async () => {
      const options = { auth: { token }, forceNew: true, reconnection: false };
      const socket = io(`http://127.0.0.1:${port}`, { ...options, transports: ["websocket"] });
      await next(socket, "connect");
      await subscribe(socket, { type: "dashboard" });
      return socket;
    };
    for (let n = 0; n < 4; n++) (await connect()).disconnect();
    // One leaves; whoever comes meanwhile is served by the other one.
    const leaving = hubs[0].process.stop();
    for (let n = 0; n < 20; n++) {
      const answer = await request({ port }, "/healthz");
      assert.equal(answer.status, 200, `${n}: ${answer.text}`);
    }
    (await connect()).disconnect();
    await leaving;
    (await connect()).disconnect();
    await hubs[0].up();
  });
}

test("the unit is one that systemd takes", async () => {
  const unit = replace(await shown("kobel.service"), "/usr/local/bin/kobel", hubs[0].binary);
  const file = path.join(dir, "kobel.service");
  await writeFile(file, unit);
  const verify = `systemd-analyze verify --man=no --recursive-errors=no ${file} 2>&1`;
  // A key that it does not know is a warning only.
  assert.equal(await run("sh", ["-c", verify]), "");
});

test("the image's last stage: nobody special, nothing but its volumes written", async (t) => {
  const docker = await Docker.start();
  t.after(() => docker.stop());
  const text = await shown("Dockerfile");
  const last = text.slice(text.lastIndexOf("\nFROM scratch\n"));
  const root = path.join(dir, "image");
  for (const folder of ["usr/bin", "etc/ssl/certs", "data", "keys"]) {
    await mkdir(path.join(root, folder), { recursive: true });
  }
  const binary = path.join(root, "usr/bin/kobel");
  // Static, as the image's, where somebody built one; else with the libraries that it needs.
  await copyFile(process.env.KOBEL_STATIC_BIN ?? hubs[0].binary, binary);
  await chmod(binary, 0o755);
  const libraries = await run("ldd", [binary]).catch(() => "");
  for (const [library] of libraries.matchAll(/\/\S+\.so\S*/g)) {
    await mkdir(path.join(root, path.dirname(library)), { recursive: true });
    await copyFile(library, path.join(root, library));
  }
  // What the stage before makes by shell.
  for (const [, line, file] of text.matchAll(/echo '(.*)' > \/image(\/\S+)/g)) {
    await writeFile(path.join(root, file), `${line}\n`);
  }
  const owned = [...last.matchAll(/--chown=(\d+):(\d+) --chmod=(\d+) \S+ (\S+)/g)];
  assert.deepEqual(
    owned.map(([, , , , folder]) => folder),
    ["/data", "/keys"],
  );
  for (const [, uid, gid, mode, folder] of owned) {
    await chown(path.join(root, folder), Number(uid), Number(gid));
    await chmod(path.join(root, folder), parseInt(mode, 8));
  }
  const said = last.match(/^(USER|ENV|VOLUME|EXPOSE|ENTRYPOINT|CMD) .*$/gm);
  assert.equal(said.length, 6);
  const archive = path.join(dir, "image.tar");
  await run("tar", ["-C", root, "-cf", archive, "."]);
  const changes = said.flatMap((line) => ["--change", line]);
  await docker.run("import", ...changes, archive, "kobel:test");

  const port = await freePort();
  const hub = { port };
  const started = (...options) => [
    ...["run", "-d", "--network=host", "--read-only", "--cap-drop=ALL"],
    ...["--security-opt=no-new-privileges", "-e", `KOBEL_LISTEN=127.0.0.1:${port}`, ...options],
    "kobel:test",
  ];
  const id = (await docker.run(...started("-v", "kobel-data:/data"))).trim();
  const up = async () => (await request(hub, "/readyz").catch(() => ({}))).status === 200;
  await docker.daemon.until("the hub in the container", up);
  assert.match(await docker.run("exec", id, "/usr/bin/kobel", "user", "link", "admin"), /sign-in#/);
  assert.match(
    await docker.run("top", id, "-eo", "pid,uid,args"),
    /\s65532\s+\/usr\/bin\/kobel serve/,
  );
  await docker.run("stop", id);
  assert.equal((await docker.run("inspect", "-f", "{{.State.ExitCode}}", id)).trim(), "0");

  // As a node, by the variables that compose.yaml sets, finding its names without files of glibc.
  const variables = [`PGPASSWORD=${postgres.password}`];
  variables.push(`KOBEL_DATABASE_URL=postgres://kobel@localhost:${postgres.port}/kobel`);
  const env = variables.flatMap((variable) => ["-e", variable]);
  const node = (await docker.run(...started(...env, "-v", "kobel-keys:/keys"))).trim();
  await docker.daemon.until("the node in the container", async () => {
    const logs = await docker.run("logs", node);
    assert.doesNotMatch(logs, /kobel: /);
    return up();
  });
  const tokens = await docker.run("exec", node, "/usr/bin/kobel", "token", "list");
  assert.match(tokens, /valid/);
  await docker.run("stop", node);
});
