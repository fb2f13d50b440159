// A protobuf message whose large part is a repeated field of messages that are encoded already.

/**
 * @param opening the message without them
 * @param tag of the field, below 128: its number × 8 + 2
 */
export function withRepeated(opening: Uint8Array, tag: number, items: readonly Uint8Array[]): Uint8Array {
  let length = opening.length;
  for (const item of items) length += 1 + varintLength(item.length) + item.length;
  const message = new Uint8Array(length);
  message.set(opening);
  let at = opening.length;
  for (const item of items) {
    message[at++] = tag;
    for (let rest = item.length; ; rest >>>= 7) {
      message[at++] = rest > 0x7f ? (rest & 0x7f) | 0x80 : rest;
      if (rest <= 0x7f) break;
    }
    message.set(item, at);
    at += item.length;
  }
  return message;
}

function varintLength(value: number): number {
  let length = 1;
  for (let rest = value >>> 7; rest > 0; rest >>>= 7) length++;
  return length;
}
