// The OpenAPI document against real answers.
import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Hub } from "./fixtures/hub.js";
import { request } from "./fixtures/http.js";

let hub;
let admin;
let document;

before(async () => {
  hub = await Hub.start();
  admin = await hub.token("admin", "--role", "admin");
  document = (await request(hub, "/api/v1/openapi.json")).json;
});

after(async () => {
  await hub?.stop();
});

const call = (method, path, body) =>
  request(hub, `/api/v1${path}`, {
    method,
    headers: { Authorization: `Bearer ${admin}`, "Content-Type": "application/json" },
    body: body && JSON.stringify(body),
  });

/** What is wrong with a value by a schema of the document: the part of JSON Schema that it uses. */
function faults(value, schema, at = "$") {
  if (schema.$ref)
    return faults(
      value,
      schema.$ref
        .split("/")
        .slice(1)
        .reduce((inside, name) => inside[name], document),
      at,
    );
  if (schema.oneOf)
    return schema.oneOf.some((one) => !faults(value, one, at).length)
      ? []
      : [`${at}: none of oneOf`];
  const kinds = schema.type === undefined ? [] : [schema.type].flat();
  const kind = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  const is = (wanted) =>
    wanted === kind || (wanted === "integer" && Number.isInteger(value)) || wanted === "any";
  if (kinds.length && !kinds.some(is)) return [`${at}: ${kind}, not ${kinds}`];
  if (schema.enum && !schema.enum.includes(value)) return [`${at}: ${value} is not in the enum`];
  if (schema.pattern && !new RegExp(schema.pattern).test(value)) return [`${at}: ${value}`];
  if (kind === "array" && schema.items)
    return value.flatMap((item, n) => faults(item, schema.items, `${at}[${n}]`));
  if (kind !== "object" || !schema.properties) return [];
  const missing = (schema.required ?? []).filter((name) => !(name in value));
  const unknown = Object.keys(value).filter((name) => !(name in schema.properties));
  return [
    ...missing.map((name) => `${at}.${name}: missing`),
    ...unknown.map((name) => `${at}.${name}: not in the document`),
    ...Object.entries(schema.properties)
      .filter(([name]) => name in value)
      .flatMap(([name, inside]) => faults(value[name], inside, `${at}.${name}`)),
  ];
}

function holds(operation, answer) {
  let said = operation.responses[answer.status];
  assert.ok(said, `${operation.operationId}: ${answer.status} is not in the document`);
  if (said.$ref) said = document.components.responses[said.$ref.split("/").at(-1)];
  const kind = (answer.headers["content-type"] ?? "").split(";")[0];
  if (!said.content) return assert.equal(answer.text, "");
  const schema = said.content[kind]?.schema;
  assert.ok(schema, `${operation.operationId}: ${kind} is not in the document`);
  const values =
    kind === "application/x-ndjson"
      ? answer.text
          .trim()
          .split("\n")
          .map((line) => JSON.parse(line))
      : [answer.json];
  for (const value of values)
    assert.deepEqual(faults(value, schema), [], `${operation.operationId} ${answer.text}`);
}

test("answers are as the document says", async () => {
  const key = `SHA256:${"a".repeat(43)}`;
  const hash = "ab".repeat(32);
  const address = "ssh://me@127.0.0.1:1";
  const made = await call("POST", "/devices", {
    address,
    name: "documented",
    group: "g",
    tags: ["t"],
    notes: "n",
    options: { period: 2, dockerSocket: "/x", ignoreMounts: ["/a*"], ignoreInterfaces: ["v*"] },
    secrets: { password: "p" },
    ssh: { jump: ["ssh://me@127.0.0.1:2"], hostKeys: [{ fingerprint: key }] },
  });
  assert.equal(made.status, 201, made.text);
  const uuid = made.json.deviceUuid;
  const { paths } = document;
  holds(paths["/devices"].post, made);
  const own = `/devices/${uuid}`;
  for (const [path, method, at, body] of [
    ["/devices", "get", "/devices"],
    ["/devices", "get", "/devices?state=odd"],
    ["/devices", "post", "/devices", { address }],
    ["/devices", "post", "/devices", { address, name: "documented" }],
    ["/devices/{uuid}", "get", own],
    ["/devices/{uuid}", "get", "/devices/0198c0de-0000-7000-8000-0000000000ab"],
    ["/devices/{uuid}", "patch", own, { notes: "m", revision: 1 }],
    ["/devices/{uuid}", "patch", own, { notes: "l", revision: 1 }],
    ["/devices/{uuid}/host-key", "post", `${own}/host-key`, { fingerprint: key, replace: true }],
    ["/devices/{uuid}/test", "post", `${own}/test`, {}],
    ["/devices/test", "post", "/devices/test", { address }],
    ["/devices/hub-key", "get", "/devices/hub-key"],
    ["/devices/import", "post", "/devices/import", { format: "ansible-ini", text: "a b=c\n-x\n" }],
    ["/devices/{uuid}/revoke-key", "post", `${own}/revoke-key`],
    ["/devices/{uuid}", "delete", own],
    ["/devices/{uuid}/restore", "post", `${own}/restore`],
    ["/devices/{uuid}/purge", "post", `${own}/purge`],
    ["/audit", "get", "/audit?limit=1000"],
    ["/session", "get", "/session"],
    ["/session", "post", "/session", { name: "a", password: "b" }],
    ["/session/link", "post", "/session/link", { token: "x" }],
    ["/account/password", "put", "/account/password", { new: "x" }],
    ["/logs/search", "get", "/logs/search"],
    ["/logs/search", "get", "/logs/search?from=never"],
    ["/logs/streams", "get", "/logs/streams"],
    ["/logs/volume", "get", "/logs/volume"],
    ["/logs/volume", "get", "/logs/volume?top=0"],
    ["/agent", "get", "/agent"],
    ["/agent/enroll", "post", "/agent/enroll", { instance: "a", name: "a", secretSha256: "b" }],
    ["/agent/enroll", "post", "/agent/enroll", { instance: "a", name: "a", secretSha256: hash }],
    ["/enrollments", "post", "/enrollments", { tags: ["a"], group: "g", uses: 2, expiresIn: 60 }],
    ["/enrollments", "post", "/enrollments", { uses: 0 }],
    ["/enrollments/{id}", "get", "/enrollments/2"],
    ["/enrollments/{id}", "get", "/enrollments/1"],
    ["/openapi.json", "get", "/openapi.json"],
  ])
    holds(paths[path][method], await call(method.toUpperCase(), at, body));
});

test("nobody is let in where the document asks for credentials", async () => {
  for (const [path, item] of Object.entries(document.paths))
    for (const method of ["get", "post", "put", "patch", "delete"]) {
      const operation = item[method];
      if (!operation || operation.security?.length === 0) continue;
      const at = path.replace("{uuid}", "0198c0de-0000-7000-8000-0000000000ab");
      const answer = await request(hub, `/api/v1${at}`, {
        method: method.toUpperCase(),
        headers: { "Content-Type": "application/json" },
        body: operation.requestBody && "{}",
      });
      assert.equal(answer.status, 401, `${method} ${path}: ${answer.text}`);
      holds(operation, answer);
    }
});
