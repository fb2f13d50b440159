// Digests over HTTP (https://www.rfc-editor.org/rfc/rfc9530): SHA-256, of the file (Repr-Digest) or of what is sent of it
// (Content-Digest).
import { createHash } from "node:crypto";

/** The value of either field. @param sha256 in hex */
export function digestField(sha256: string): string {
  return `sha-256=:${Buffer.from(sha256, "hex").toString("base64")}:`;
}

export function digestOf(bytes: Uint8Array): string {
  return digestField(createHash("sha256").update(bytes).digest("hex"));
}

/** Whether a Want-Repr-Digest or Want-Content-Digest would have a SHA-256: with a weight from 1 to 10; 0 is "not this one". */
export function wantsSha256(field = ""): boolean {
  return field.split(",").some((member) => /^\s*sha-256\s*=\s*(?:[1-9]|10)\s*(?:;.*)?$/u.test(member));
}
