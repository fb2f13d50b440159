// Text out of bytes that should be UTF-8.

const decoder = new TextDecoder();
/** U+FFFD in UTF-8. */
const REPLACEMENT = Buffer.from("\uFFFD");

/** Each invalid sequence becomes U+FFFD. */
export function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}

/** U+FFFD in the text that was not in the bytes. */
export function countReplaced(text: string, bytes: Uint8Array): number {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  let count = 0;
  for (let at = text.indexOf("\uFFFD"); at >= 0; at = text.indexOf("\uFFFD", at + 1)) count++;
  for (let at = buffer.indexOf(REPLACEMENT); at >= 0; at = buffer.indexOf(REPLACEMENT, at + 3)) count--;
  return count;
}
