// How a status travels: `grpc-status`, `grpc-message` (percent-encoded UTF-8), `grpc-status-details-bin`
// (google.rpc.Status), and the metadata of the trailers.
import { create, createRegistry, fromBinary, toBinary } from "@bufbuild/protobuf";
import { anyPack, anyUnpack, AnySchema, type Any } from "@bufbuild/protobuf/wkt";
import { file_google_rpc_error_details } from "../gen/google/rpc/error_details_pb.ts";
import { StatusSchema } from "../gen/google/rpc/status_pb.ts";
import { HeaderBlock, type HeaderList } from "../transport.ts";
import { Metadata } from "./metadata.ts";
import { decodeMessage } from "./status-message.ts";
import { Code, codeOfHttpStatus, parseCode, RpcError, type ErrorDetail } from "./status.ts";

/** Clients refuse header lists of more than 8 KiB or so; an error must not be lost because its text is long. */
const MESSAGE_CHARACTERS_MAX = 1024;
const DETAILS_BYTES_MAX = 4096;

const KNOWN_DETAILS = createRegistry(file_google_rpc_error_details);

/** Trailers of a call that went well. */
export const TRAILERS_OK = new HeaderBlock(["grpc-status", "0"]);

/** Trailers of a call that went well and has something to add. */
export function okTrailers(metadata: Metadata): HeaderBlock {
  return metadata.size === 0 ? TRAILERS_OK : new HeaderBlock(["grpc-status", "0", ...metadata.fields]);
}

/** The fields of an error's trailers; `trailers` is what the handler set beside the error's own metadata. */
export function errorFields(error: RpcError, trailers: Metadata | undefined): string[] {
  const fields = ["grpc-status", String(error.code)];
  if (error.message !== "") fields.push("grpc-message", encodeMessage(error.message));
  if (error.details.length > 0) fields.push("grpc-status-details-bin", encodeDetails(error));
  fields.push(...(trailers?.fields ?? []), ...error.metadata.fields);
  return fields;
}

/** Percent-encoding of the protocol: UTF-8, everything outside of printable ASCII, and the percent sign. */
function encodeMessage(message: string): string {
  const text = message.length > MESSAGE_CHARACTERS_MAX ? `${message.slice(0, MESSAGE_CHARACTERS_MAX - 1)}…` : message;
  if (/^[\x20-\x24\x26-\x7e]*$/.test(text)) return text;
  let encoded = "";
  for (const byte of Buffer.from(text, "utf8")) {
    const isPlain = byte >= 0x20 && byte <= 0x7e && byte !== 0x25;
    encoded += isPlain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return encoded;
}

function encodeDetails(error: RpcError): string {
  const details = error.details.map(toAny);
  for (;;) {
    const status = create(StatusSchema, {
      code: error.code,
      message: error.message.slice(0, MESSAGE_CHARACTERS_MAX),
      details,
    });
    const bytes = toBinary(StatusSchema, status);
    if (bytes.length <= DETAILS_BYTES_MAX || details.length === 0)
      return Buffer.from(bytes).toString("base64").replace(/=+$/, "");
    details.pop();
  }
}

function toAny(detail: ErrorDetail): Any {
  const message = create(detail.desc, detail.value);
  return detail.desc.typeName === AnySchema.typeName ? create(AnySchema, detail.value) : anyPack(detail.desc, message);
}

function decodeDetails(text: string | undefined): ErrorDetail[] {
  if (text === undefined) return [];
  try {
    const status = fromBinary(StatusSchema, Buffer.from(text, "base64"));
    return status.details.map((any) => {
      const desc = KNOWN_DETAILS.getMessage(any.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1));
      const value = desc === undefined ? undefined : anyUnpack(any, desc);
      return desc === undefined || value === undefined ? { desc: AnySchema, value: any } : { desc, value };
    });
  } catch {
    // Details are an extra: damaged ones must not hide the status itself.
    return [];
  }
}

/** What a client reads from trailers, or from a trailers-only response. */
export interface ReceivedStatus {
  /** undefined: OK. */
  readonly error: RpcError | undefined;
  readonly metadata: Metadata;
}

/** Undefined when there is no `grpc-status`. */
export function readStatus(headers: HeaderList): ReceivedStatus | undefined {
  const code = field(headers, "grpc-status");
  if (code === undefined) return undefined;
  const metadata = Metadata.received(headers.fields);
  if (code === "0") return { error: undefined, metadata };
  const details = decodeDetails(field(headers, "grpc-status-details-bin"));
  const message = decodeMessage(field(headers, "grpc-message") ?? "");
  const number = parseCode(code);
  // A success spelled in an unknown way ("00") is none.
  return { error: new RpcError(number === Code.OK ? Code.UNKNOWN : number, message, { details, metadata }), metadata };
}

/** What is wrong with a response's headers, undefined: nothing. They come from a gRPC server, or from anything on the way. */
export function refuseResponse(headers: HeaderList): RpcError | undefined {
  const status = field(headers, ":status") ?? "";
  const contentType = field(headers, "content-type") ?? "";
  if (status !== "200") {
    return new RpcError(
      codeOfHttpStatus(Number(status)),
      `The server answered with HTTP status ${status}, not with gRPC`,
    );
  }
  if (!isGrpcContentType(contentType)) {
    return new RpcError(Code.UNKNOWN, `The server answered with content-type "${contentType}", not with gRPC`);
  }
  return undefined;
}

/** application/grpc, application/grpc+proto; not application/grpc-web. */
export function isGrpcContentType(contentType: string): boolean {
  if (contentType === "application/grpc" || contentType === "application/grpc+proto") return true;
  return /^application\/grpc(\+proto)?\s*(;.*)?$/i.test(contentType);
}

/** A field of a header list. */
export function field(headers: HeaderList, name: string): string | undefined {
  const { fields } = headers;
  for (let at = 0; at < fields.length; at += 2) if (fields[at] === name) return fields[at + 1];
  return undefined;
}
