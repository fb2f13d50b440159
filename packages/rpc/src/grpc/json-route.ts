// A method whose messages are JSON (protobuf's own mapping) instead of protobuf: the same handler behind other codecs.
import {
  create,
  createRegistry,
  type DescFile,
  type DescMessage,
  fromBinary,
  fromJsonString,
  type MessageInitShape,
  type Registry,
  toBinary,
  toJsonString,
} from "@bufbuild/protobuf";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import { FRAME_HEADER_BYTES, frameOf, Frames } from "./frames.ts";
import type { Route } from "./route.ts";
import { Code, RpcError } from "./status.ts";

/** The route for JSON, of a method that answers once; the same object each time. Fields that are unknown are skipped, as in protobuf. */
export function jsonRoute(route: Route): Route {
  return (route.json ??= makeRoute(route));
}

function makeRoute(route: Route): Route {
  const { handler, isRaw, method } = route;
  // What google.protobuf.Any may hold.
  const registry = createRegistry(...withImports([method.parent.file, file_google_rpc_error_details]));
  const toJson = (reply: unknown) => writeJson(method.output, reply, registry);
  return {
    ...route,
    handler:
      handler &&
      ((request, call) => {
        const reply = handler(request, call);
        return reply instanceof Promise ? reply.then(toJson) : toJson(reply);
      }),
    decode(bytes) {
      const message = readJson(method.input, bytes, registry);
      return isRaw ? toBinary(method.input, message) : message;
    },
  };
}

function readJson(desc: DescMessage, bytes: Uint8Array, registry: Registry) {
  try {
    const text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    return fromJsonString(desc, text, { registry, ignoreUnknownFields: true });
  } catch (error) {
    throw new RpcError(Code.INVALID_ARGUMENT, `Cannot read the request: ${reasonOf(error)}`, { cause: error });
  }
}

/** A handler's answer, which may be a frame of protobuf, as a frame of JSON. */
function writeJson(desc: DescMessage, reply: unknown, registry: Registry): Frames {
  try {
    const message =
      reply instanceof Frames
        ? fromBinary(desc, reply.bytes.subarray(FRAME_HEADER_BYTES))
        : create(desc, reply as MessageInitShape<DescMessage>);
    return new Frames(frameOf(Buffer.from(toJsonString(desc, message, { registry }), "utf8")));
  } catch (error) {
    const text = `Cannot write a message of ${desc.typeName} as JSON: ${reasonOf(error)}`;
    throw new RpcError(Code.INTERNAL, text, { cause: error });
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function withImports(files: readonly DescFile[], known = new Set<DescFile>()): Set<DescFile> {
  for (const file of files) {
    if (known.has(file)) continue;
    known.add(file);
    withImports(file.dependencies, known);
  }
  return known;
}
