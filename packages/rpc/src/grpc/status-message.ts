// The text of `grpc-message`, for whoever reads it: on a connection of ours, or by `fetch` in a browser.

/** Percent-decodes. Never fails: what is no valid escape stays as it is, what is no valid UTF-8 becomes U+FFFD. */
export function decodeMessage(encoded: string): string {
  if (!encoded.includes("%") && /^[\x20-\x7e]*$/.test(encoded)) return encoded;
  const bytes: number[] = [];
  for (let at = 0; at < encoded.length; at++) {
    const escape = encoded.charAt(at) === "%" ? encoded.slice(at + 1, at + 3) : "";
    if (/^[0-9a-fA-F]{2}$/.test(escape)) {
      bytes.push(Number.parseInt(escape, 16));
      at += 2;
    } else bytes.push(encoded.charCodeAt(at) & 0xff);
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(Uint8Array.from(bytes));
}
