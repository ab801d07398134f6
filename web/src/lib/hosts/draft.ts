/** What somebody typed of a host, and the request that it makes. */
import type { Draft, HostKey, SignIn } from "./api";

export interface Typed {
  address: string;
  name: string;
  tags: string;
  group: string;
  jump: string;
  signIn: Exclude<SignIn, "key-file">;
  password: string;
  privateKey: string;
  passphrase: string;
  hostKeys: HostKey[];
}

export function blank(): Typed {
  return {
    address: "",
    name: "",
    tags: "",
    group: "",
    jump: "",
    signIn: "hub-key",
    password: "",
    privateKey: "",
    passphrase: "",
    hostKeys: [],
  };
}

/** Words between commas, each once. */
export function words(text: string): string[] {
  return [...new Set(text.split(",").map((word) => word.trim()))].filter((word) => word !== "");
}

/** The body of a create or of a test. What was left empty is left out. */
export function toDraft(typed: Typed): Draft {
  const secrets: Record<string, string> = {};
  if (typed.signIn === "password") secrets.password = typed.password;
  if (typed.signIn === "key") {
    // An OpenSSH key ends with a line feed, which a paste may have lost.
    secrets.privateKey = typed.privateKey.trim() + "\n";
    if (typed.passphrase) secrets.passphrase = typed.passphrase;
  }
  const jump = words(typed.jump);
  return {
    address: typed.address.trim(),
    ...(typed.name.trim() ? { name: typed.name.trim() } : {}),
    ...(typed.tags.trim() ? { tags: words(typed.tags) } : {}),
    ...(typed.group.trim() ? { group: typed.group.trim() } : {}),
    ssh: {
      signIn: [typed.signIn],
      ...(jump.length > 0 ? { jump } : {}),
      ...(typed.hostKeys.length > 0 ? { hostKeys: typed.hostKeys } : {}),
    },
    ...(Object.keys(secrets).length > 0 ? { secrets } : {}),
  };
}
