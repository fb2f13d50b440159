// How a record lies in its frame, for those who write and read it without a decoder:
//
//   frame    flag 0, length (4 bytes, big-endian), message
//   message  kind (one field, 1 to 12, a message), sequence, epoch, checksum
//
// L1. Exactly these four fields, in this order. The checksum is CRC-32 (IEEE) of all message bytes before its tag.

export const FRAME_HEADER_BYTES = 5;
/** Tag and value of the checksum. */
export const CHECKSUM_BYTES = 5;

/** Tags of what the journal appends to a kind: field number × 8 + wire type. */
export const StampTag = {
  SEQUENCE: 104,
  EPOCH: 112,
  CHECKSUM: 125,
} as const;

/** Tag and value of sequence (2^53) and epoch (2^32), and the checksum. */
export const STAMP_BYTES_MAX = 9 + 6 + CHECKSUM_BYTES;
