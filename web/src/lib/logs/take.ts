/** Taking lines out of the page: to the clipboard, into a file. */

/** Copies a text; gives whether the browser let us. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return byCommand(text);
  }
}

/** The old way, for pages that did not come by HTTPS. */
function byCommand(text: string): boolean {
  let taken = false;
  const give = (event: ClipboardEvent) => {
    event.clipboardData?.setData("text/plain", text);
    event.preventDefault();
    event.stopImmediatePropagation();
    taken = true;
  };
  document.addEventListener("copy", give, { capture: true });
  document.execCommand("copy");
  document.removeEventListener("copy", give, { capture: true });
  return taken;
}

/** So many pieces are joined to one: a file of a million pieces takes long to make. */
const PIECES = 5_000;

/** Saves lines as a file named after what they are of. */
export function saveText(lines: Iterable<string>, name: string, kind = "log"): void {
  const parts: string[] = [];
  let some: string[] = [];
  for (const line of lines) {
    some.push(line);
    if (some.length < PIECES) continue;
    parts.push(some.join(""));
    some = [];
  }
  parts.push(some.join(""));
  const url = URL.createObjectURL(new Blob(parts, { type: "text/plain;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  const when = new Date().toISOString().slice(0, 19).replace(/:/g, "");
  link.download = `${name.replace(/[^\w.-]+/g, "_") || "log"}-${when}.${kind}`;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
