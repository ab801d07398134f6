import type { ErrorBody } from "./live/types";

/** A refused subscription in the words of the page: what, and what next. */
export function explain(
  error: ErrorBody,
  what: "device" | "container" | "fleet" | "system" | "log",
): {
  title: string;
  next: string;
} {
  switch (error.code) {
    case "UNAUTHORIZED":
      if (what === "system") {
        return {
          title: "Only admins see the hub's own figures",
          next: "They tell of everybody who is connected. An admin can give your account that role.",
        };
      }
      return {
        title: `You may not see this ${what}`,
        next: "It does not exist, or your account has no right to it. An admin can change that.",
      };
    case "NOT_FOUND":
      return {
        title: `No such ${what}`,
        next:
          what === "container"
            ? "It was removed, or its host is not known yet. It will appear here if it comes back."
            : "It was removed, or the address is wrong. It will appear here if it comes back.",
      };
    case "BAD_REQUEST":
      return { title: `Not a ${what}`, next: error.message };
    default:
      return { title: `The hub does not show this ${what} now`, next: error.message };
  }
}
