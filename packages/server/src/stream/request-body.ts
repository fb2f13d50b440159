// The body of a plain HTTP request, within a limit.
import { gunzip } from "node:zlib";
import type { HttpRequest } from "@sluice/rpc";
import { InvalidRequest, SluiceError } from "../errors.ts";

/** The body, or what it decompresses to, is over the limit. To recover: send smaller batches. */
export class BodyTooLarge extends SluiceError {
  override readonly name = "BodyTooLarge";
  constructor(max: number) {
    super("limit-exceeded", `Cannot take a body of more than ${max} bytes, compressed or not: send smaller batches`, {
      reason: "LIMIT_EXCEEDED",
      quota: { subject: "bytes of a body", description: `the limit is ${max}` },
    });
  }
}

/** As it comes. @throws BodyTooLarge */
export async function readBody({ body }: Pick<HttpRequest, "body">, max: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    size += chunk.length;
    if (size > max) throw new BodyTooLarge(max);
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks);
}

/** What it holds: gzip or plain, as its header says. @throws BodyTooLarge, InvalidRequest */
export async function readPlainBody(request: Pick<HttpRequest, "headers" | "body">, max: number): Promise<Uint8Array> {
  const encoding = (request.headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (encoding !== "gzip" && encoding !== "identity") {
    throw refuse("content-encoding", `"${encoding}" is none of gzip, identity`);
  }
  const whole = await readBody(request, max);
  return encoding === "gzip" ? await decompress(whole, max) : whole;
}

/** In the thread pool. */
function decompress(bytes: Uint8Array, max: number): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    gunzip(bytes, { maxOutputLength: max }, (error, decompressed) => {
      if (error === null) resolve(decompressed);
      else if ("code" in error && error.code === "ERR_BUFFER_TOO_LARGE") reject(new BodyTooLarge(max));
      else reject(refuse("body", "is no valid gzip"));
    });
  });
}

/** @throws InvalidRequest */
export function textOfBody(bytes: Uint8Array): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    throw refuse("body", "is not valid UTF-8");
  }
}

function refuse(field: string, description: string): InvalidRequest {
  return new InvalidRequest("MALFORMED", [{ field, description }]);
}
