/** Which rule of the format the bytes break, by the names that the Rust decoder has, too. */
export type MetrErrorCode =
  | "BadMagic"
  | "UnsupportedVersion"
  | "UnsupportedFlags"
  | "TooShort"
  | "LengthMismatch"
  | "TooManyRecords"
  | "Truncated"
  | "TrailingBytes"
  | "OutOfRange"
  | "BadTimestamp"
  | "NeedsKeyFrame";

/** The bytes are not METR, or (`NeedsKeyFrame`) not yet to be understood. */
export class MetrError extends Error {
  override readonly name = "MetrError";

  constructor(
    readonly code: MetrErrorCode,
    message: string,
  ) {
    super(message);
  }
}
