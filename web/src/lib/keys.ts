/** Whether a key belongs to a text that somebody writes, or to an open dialog. */
export function isTyping(event: KeyboardEvent): boolean {
  const target = event.target instanceof Element ? event.target : null;
  return target?.closest("input:not([type=checkbox]), textarea, select, dialog") != null;
}
