/**
 * Text of unknown origin, made visible: what would act on a terminal or turn the direction of
 * writing is shown as a sign of its own. Each character stays one character, so that places in the
 * text and in what is shown are the same.
 */

// Control characters but for tab and line feed; marks that turn the direction of writing; what
// separates lines or is not seen at all.
const ACTING =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;

/** U+2400 and on show the first 32 control characters. */
const PICTURES = 0x2400;

export function visible(text: string): string {
  return text.replace(ACTING, sign);
}

function sign(char: string): string {
  const code = char.charCodeAt(0);
  if (code < 0x20) return String.fromCharCode(PICTURES + code);
  return code === 0x7f ? "\u2421" : "\u2426";
}
