// A point with all that belongs to it, as bytes: where a number and a tick do not say everything.
//
//   flags     1 byte: 1 an int64 follows, 2 the point says that its series has ended
//   value     8 bytes, a double
//   start     8 bytes, Unix ns
//   int64     8 bytes, if flagged
//   shape     the rest: fields of MetricPoint
//
// All little-endian.
import type { Point } from "../series.ts";

/** A point of the history. */
export interface PastPoint extends Point {
  /** Its series ended with it. */
  readonly isStale: boolean;
}

const HAS_INT = 1;
const IS_STALE = 2;
const FIXED_BYTES = 17;

export function encodeWhole({ value, startNs, intValue, shape, isStale }: PastPoint): Buffer {
  const size = FIXED_BYTES + (intValue === undefined ? 0 : 8) + (shape?.length ?? 0);
  const bytes = Buffer.allocUnsafe(size);
  bytes[0] = (intValue === undefined ? 0 : HAS_INT) | (isStale ? IS_STALE : 0);
  bytes.writeDoubleLE(value, 1);
  bytes.writeBigInt64LE(BigInt.asIntN(64, startNs), 9);
  if (intValue !== undefined) bytes.writeBigInt64LE(intValue, FIXED_BYTES);
  if (shape !== undefined) bytes.set(shape, size - shape.length);
  return bytes;
}

/** The bytes are copied where they are kept. */
export function decodeWhole(bytes: Buffer, timestampNs: bigint): PastPoint {
  const flags = bytes[0]!;
  const shapeAt = FIXED_BYTES + ((flags & HAS_INT) === 0 ? 0 : 8);
  return {
    value: bytes.readDoubleLE(1),
    startNs: bytes.readBigInt64LE(9),
    timestampNs,
    isStale: (flags & IS_STALE) !== 0,
    ...((flags & HAS_INT) === 0 ? {} : { intValue: bytes.readBigInt64LE(FIXED_BYTES) }),
    ...(shapeAt < bytes.length ? { shape: Uint8Array.from(bytes.subarray(shapeAt)) } : {}),
  };
}

/** What stands for the end of a series among doubles: the NaN that Prometheus uses for it. */
export const STALE_HIGH = 0x7ff00000;
export const STALE_LOW = 2;

/** Whether value, start and that it is whole or not say everything. */
export function isPlain({ value, intValue, shape }: Point): boolean {
  if (shape !== undefined) return false;
  return intValue === undefined || (Number.isSafeInteger(value) && !Object.is(value, -0) && BigInt(value) === intValue);
}
