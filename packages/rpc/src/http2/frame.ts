// The vocabulary of RFC 9113: frame types, flags, error codes, settings, and what can be said of a frame by its header alone.

export const FrameType = {
  DATA: 0,
  HEADERS: 1,
  PRIORITY: 2,
  RST_STREAM: 3,
  SETTINGS: 4,
  PUSH_PROMISE: 5,
  PING: 6,
  GOAWAY: 7,
  WINDOW_UPDATE: 8,
  CONTINUATION: 9,
} as const;

export const Flag = {
  END_STREAM: 0x1,
  ACK: 0x1,
  END_HEADERS: 0x4,
  PADDED: 0x8,
  PRIORITY: 0x20,
} as const;

/** RFC 9113 §7. */
export const ErrorCode = {
  NO_ERROR: 0,
  PROTOCOL_ERROR: 1,
  INTERNAL_ERROR: 2,
  FLOW_CONTROL_ERROR: 3,
  SETTINGS_TIMEOUT: 4,
  STREAM_CLOSED: 5,
  FRAME_SIZE_ERROR: 6,
  REFUSED_STREAM: 7,
  CANCEL: 8,
  COMPRESSION_ERROR: 9,
  CONNECT_ERROR: 10,
  ENHANCE_YOUR_CALM: 11,
  INADEQUATE_SECURITY: 12,
  HTTP_1_1_REQUIRED: 13,
} as const;

/** What a client sends first, before its SETTINGS (RFC 9113 §3.4). */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");
export const FRAME_HEADER_BYTES = 9;
export const WINDOW_BYTES_MAX = 0x7fffffff;
/** Both windows before anything was said (RFC 9113 §6.9.2). */
export const DEFAULT_WINDOW_BYTES = 65_535;
export const STREAM_ID_MAX = 0x7fffffff;

/** The connection cannot go on: GOAWAY with `code`, and the end. To recover: open a new connection. */
export class ConnectionError extends Error {
  override readonly name = "ConnectionError";
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Checks a payload's length against what its type demands (RFC 9113 §6). DATA, HEADERS, PUSH_PROMISE, CONTINUATION may
 * have any; a PRIORITY of the wrong length is its stream's error only and is left to the caller.
 * @throws ConnectionError FRAME_SIZE_ERROR
 */
export function checkFrameSize(type: number, flags: number, length: number): void {
  let isRight = true;
  switch (type) {
    case FrameType.RST_STREAM:
    case FrameType.WINDOW_UPDATE:
      isRight = length === 4;
      break;
    case FrameType.SETTINGS:
      isRight = (flags & Flag.ACK) === 0 ? length % 6 === 0 : length === 0;
      break;
    case FrameType.PING:
      isRight = length === 8;
      break;
    case FrameType.GOAWAY:
      isRight = length >= 8;
      break;
  }
  if (!isRight) {
    throw new ConnectionError(ErrorCode.FRAME_SIZE_ERROR, `frame of type ${type} with a payload of ${length} bytes`);
  }
}

/** Reads an unsigned 31-bit number: a stream id or a window increment, the reserved bit dropped. */
export function readUint31(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! & 0x7f) << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** Reads an unsigned 32-bit number. */
export function readUint32(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!) >>> 0;
}
