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

/** What a file is called: what it is of, and when it was made. */
export function fileName(of: string, kind: string): string {
  const when = new Date().toISOString().slice(0, 19).replace(/:/g, "");
  return `${of.replace(/[^\w.-]+/g, "_") || "log"}-${when}.${kind}`;
}

/** The part of the File System Access API that we use; not every browser has it. */
interface Picker {
  showSaveFilePicker?(options: { suggestedName: string }): Promise<{
    createWritable(): Promise<{
      write(text: string): Promise<void>;
      close(): Promise<void>;
      abort(): Promise<void>;
    }>;
  }>;
}

/**
 * Saves lines as a file. Where the browser can write one bit by bit, and `long` says that it is
 * worth a question where to, it is never in memory as a whole. Gives whether it was saved.
 */
export async function saveLines(
  lines: Iterable<string>,
  name: string,
  long: boolean,
): Promise<boolean> {
  const picker = window as Picker;
  if (!long || !picker.showSaveFilePicker) {
    saveText([...pieces(lines)], name);
    return true;
  }
  let file;
  try {
    file = await picker.showSaveFilePicker({ suggestedName: name });
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") return false;
    throw error;
  }
  const out = await file.createWritable();
  try {
    for (const piece of pieces(lines)) await out.write(piece);
  } catch (error) {
    await out.abort().catch(() => undefined);
    throw error;
  }
  await out.close();
  return true;
}

/** Lines joined to some that are long enough. */
function* pieces(lines: Iterable<string>): Iterable<string> {
  let some: string[] = [];
  for (const line of lines) {
    some.push(line);
    if (some.length < PIECES) continue;
    yield some.join("");
    some = [];
  }
  yield some.join("");
}

function saveText(parts: string[], name: string): void {
  const url = URL.createObjectURL(new Blob(parts, { type: "text/plain;charset=utf-8" }));
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  // The browser has begun to read it by then.
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
