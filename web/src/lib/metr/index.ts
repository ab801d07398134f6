/**
 * METR, the binary form of the event `metrics`: docs/metr.md describes it. The folder needs
 * nothing of the rest of the page, and may be used elsewhere.
 */
export { newColumns, STATES, type Columns } from "./columns";
export { MetrError, type MetrErrorCode } from "./error";
export { Reader, type Frame } from "./reader";
export { decodeV1, type FrameV1 } from "./v1";
