// How a gRPC call that failed is told to the contract suite.
import { Code, ErrorInfoSchema, retryDelayMs, RpcError } from "@sluice/rpc";
import { type FaultKind, UploadFault } from "../upload-driver.ts";

const KINDS: Readonly<Record<string, FaultKind>> = {
  UPLOAD_IN_USE: "in-use",
  OFFSET_OUT_OF_RANGE: "offset",
  CHECKSUM_MISMATCH: "checksum",
  UPLOAD_INCOMPLETE: "incomplete",
  NOT_FOUND: "gone",
  DISK_FULL: "disk-full",
  UPLOAD_STALLED: "stalled",
};

function faultOf(error: unknown): UploadFault {
  if (!(error instanceof RpcError)) return new UploadFault("other", String(error), { cause: error });
  const [info] = error.findDetails(ErrorInfoSchema);
  const isLost = info?.domain !== "sluice" && (error.code === Code.UNAVAILABLE || error.code === Code.CANCELLED);
  const kind = KINDS[info?.reason ?? ""] ?? (isLost ? "interrupted" : "other");
  return new UploadFault(kind, error.message, { cause: error, retryAfterMs: retryDelayMs(error) });
}

/** What a call gives. @throws UploadFault */
export async function ask<T>(call: Promise<T>): Promise<T> {
  try {
    return await call;
  } catch (error) {
    throw faultOf(error);
  }
}
