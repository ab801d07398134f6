// Agents by TLS: a hub that this machine trusts, and one that it does not.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import path from "node:path";
import { Process, run } from "./fixtures/process.js";
import { SecureHub } from "./fixtures/tls.js";

let hub, leaf;

before(async () => {
  hub = await SecureHub.start();
  // A certificate that is nothing but a server's: what signs itself as an authority is refused.
  leaf = path.join(hub.dir, "leaf");
  await run("openssl", [
    ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"],
    ...["-days", "2", "-subj", "/CN=kobel", "-addext", "basicConstraints=critical,CA:FALSE"],
    ...[
      "-addext",
      "subjectAltName=IP:127.0.0.1,DNS:localhost",
      "-keyout",
      `${leaf}.key`,
      "-out",
      `${leaf}.pem`,
    ],
  ]);
  await hub.process.stop();
  hub.args = ["--tls-cert", `${leaf}.pem`, "--tls-key", `${leaf}.key`];
  hub.ca = await run("cat", [`${leaf}.pem`]);
  await hub.up();
});

after(async () => {
  await hub?.stop();
});

const simulate = (env) =>
  new Process(
    "simulate",
    hub.binary,
    ["simulate", "--devices", "3", "--hub", hub.url, "--log", "info", "--duration", "4s"],
    { env: { ...hub.env, ...env } },
  );

test("a hub whose certificate this machine trusts is connected to", async () => {
  const simulation = simulate({ SSL_CERT_FILE: `${leaf}.pem` });
  await simulation.until("being connected", () => /connected.*devices=3/.test(simulation.output));
  await simulation.ended;
  assert.equal(simulation.child.exitCode, 0, simulation.output);
});

test("another's certificate is not accepted, and it is said so", async () => {
  const simulation = simulate({});
  await simulation.until("a reason", () => /UnknownIssuer|certificate/i.test(simulation.output));
  await simulation.ended;
  assert.doesNotMatch(simulation.output, /connected hub/);
});
