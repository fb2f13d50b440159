// Metadata and errors, as the suite's messages spell them and as @sluice/rpc does.
import { type Code as RpcCode, type Metadata, RpcError } from "@sluice/rpc";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { anyPack, AnySchema } from "@bufbuild/protobuf/wkt";
import type { Code } from "../gen/connectrpc/conformance/v1/config_pb.ts";
import type {
  Error as ConformanceError,
  ErrorSchema,
  Header,
  HeaderSchema,
} from "../gen/connectrpc/conformance/v1/service_pb.ts";

/** Adds the suite's headers; binary values come as base64. */
export function addHeaders(metadata: Metadata, headers: readonly Header[]): void {
  for (const { name, value: values } of headers) {
    for (const value of values) {
      metadata.append(name, name.toLowerCase().endsWith("-bin") ? Buffer.from(value, "base64") : value);
    }
  }
}

export function headersOf(metadata: Metadata): MessageInitShape<typeof HeaderSchema>[] {
  const names = new Set(Array.from(metadata, ([name]) => name));
  return Array.from(names, (name) => ({ name, value: metadata.getAll(name) }));
}

/** The error that a server is told to answer with. The suite numbers codes as gRPC does. */
export function rpcErrorOf({ code, message, details }: ConformanceError): RpcError {
  return new RpcError(code as number as RpcCode, message ?? "", {
    details: details.map((value) => ({ desc: AnySchema, value })),
  });
}

/** What a client says of the error that it got. */
export function conformanceErrorOf(error: RpcError): MessageInitShape<typeof ErrorSchema> {
  const details = error.details.map(({ desc, value }) =>
    desc.typeName === AnySchema.typeName ? create(AnySchema, value) : anyPack(desc, create(desc, value)),
  );
  return { code: error.code as number as Code, message: error.message, details };
}
