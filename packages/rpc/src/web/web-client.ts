// gRPC-Web by `fetch`: calls from a browser, or from whatever else has it. Unary calls and streams of answers.
// https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-WEB.md
import { create, type DescMethod, type DescService, fromBinary, toBinary } from "@bufbuild/protobuf";
import { base64Decode } from "@bufbuild/protobuf/wire";
import { AnySchema } from "@bufbuild/protobuf/wkt";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import type { Client } from "../grpc/client.ts";
import { decodeMessage } from "../grpc/status-message.ts";
import { Code, type ErrorDetail, RpcError } from "../grpc/status.ts";

/** Of a call. */
export interface WebCallOptions {
  readonly signal?: AbortSignal;
  readonly timeoutMs?: number;
}

const FRAME_HEADER_BYTES = 5;
const FLAG_TRAILERS = 0x80;

/** A function for each method, by its local name; streams of requests are not to be had in a browser. */
export function createWebClient<S extends DescService>(service: S, baseUrl: string): Client<S> {
  const methods: Record<string, unknown> = {};
  for (const method of service.methods) {
    const stream = (request: object, options: WebCallOptions = {}) => call(baseUrl, { method, request, options });
    methods[method.localName] =
      method.methodKind === "unary" ? (...all: Parameters<typeof stream>) => only(stream(...all)) : stream;
  }
  // Built from the same descriptor that the type is derived from.
  return methods as Client<S>;
}

async function only(answers: AsyncGenerator): Promise<unknown> {
  const all = await Array.fromAsync(answers);
  if (all.length === 1) return all[0];
  throw new RpcError(Code.INTERNAL, `The server answered with ${all.length} messages instead of one`);
}

async function* call(
  baseUrl: string,
  {
    method,
    request,
    options,
  }: { readonly method: DescMethod; readonly request: object; readonly options: WebCallOptions },
): AsyncGenerator {
  const { signal, timeoutMs } = options;
  const message = toBinary(method.input, create(method.input, request as never));
  const signals = [signal, timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs)];
  try {
    const response = await fetch(`${baseUrl}/${method.parent.typeName}/${method.name}`, {
      method: "POST",
      headers: { "content-type": "application/grpc-web+proto", "x-grpc-web": "1" },
      body: frameOf(message),
      signal: AbortSignal.any(signals.filter((each) => each !== undefined)),
    });
    if (response.headers.has("grpc-status")) checkStatus(response.headers);
    if (!response.ok || response.body === null)
      throw new RpcError(Code.UNAVAILABLE, `The server answered with HTTP ${response.status}`);
    for await (const { flag, bytes } of framesOf(response.body)) {
      if (flag & FLAG_TRAILERS) return checkStatus(trailersOf(bytes));
      yield fromBinary(method.output, bytes);
    }
  } catch (error) {
    if (signal?.aborted === true || error instanceof RpcError) throw error;
    if (error instanceof DOMException && error.name === "TimeoutError") {
      throw new RpcError(Code.DEADLINE_EXCEEDED, `No answer within ${timeoutMs} ms`, { cause: error });
    }
    throw new RpcError(Code.UNAVAILABLE, `The connection to ${baseUrl} failed`, { cause: error });
  }
  throw new RpcError(Code.UNAVAILABLE, "The answer broke off before its status");
}

/** One flag byte, four bytes of length, the message. */
function frameOf(message: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES + message.length);
  new DataView(bytes.buffer).setUint32(1, message.length);
  bytes.set(message, FRAME_HEADER_BYTES);
  return bytes;
}

/** However it is cut: what comes is joined once, when the frame that it belongs to is whole. */
async function* framesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<{ flag: number; bytes: Uint8Array }> {
  let pieces: Uint8Array[] = [];
  let size = 0;
  let wanted = FRAME_HEADER_BYTES;
  for await (const chunk of body) {
    pieces.push(chunk);
    size += chunk.length;
    if (size < wanted) continue;
    const all = pieces.length === 1 ? chunk : join(pieces, size);
    const view = new DataView(all.buffer, all.byteOffset, all.length);
    let at = 0;
    for (;;) {
      const rest = all.length - at;
      wanted = FRAME_HEADER_BYTES + (rest < FRAME_HEADER_BYTES ? 0 : view.getUint32(at + 1));
      if (rest < wanted) break;
      yield { flag: view.getUint8(at), bytes: all.subarray(at + FRAME_HEADER_BYTES, at + wanted) };
      at += wanted;
    }
    pieces = [all.subarray(at)];
    size = all.length - at;
  }
}

function join(pieces: readonly Uint8Array[], size: number): Uint8Array {
  const all = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    all.set(piece, at);
    at += piece.length;
  }
  return all;
}

/** The last frame is what gRPC has in its trailers: lines of `name: value`. */
function trailersOf(bytes: Uint8Array): Headers {
  const trailers = new Headers();
  for (const line of new TextDecoder().decode(bytes).split("\r\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) trailers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return trailers;
}

/** @throws RpcError unless it is OK */
function checkStatus(trailers: Headers): void {
  const code = Number(trailers.get("grpc-status") ?? Code.UNKNOWN);
  if (code === Code.OK) return;
  const message = decodeMessage(trailers.get("grpc-message") ?? "");
  throw new RpcError(code as Code, message, { details: detailsOf(trailers.get("grpc-status-details-bin")) });
}

/** As they came; `RpcError.findDetails` unpacks them. Those that cannot be read are left out. */
function detailsOf(text: string | null): ErrorDetail[] {
  try {
    const { details } = fromBinary(StatusSchema, base64Decode(text ?? ""));
    return details.map((value) => ({ desc: AnySchema, value }));
  } catch {
    return [];
  }
}
