// grpc.reflection.v1 and v1alpha, from the descriptors that protobuf-es embeds in generated code.
// Source: github.com/grpc/grpc doc/server-reflection.md.
//
// Both versions are the same bytes under two package names: one raw handler, with the codecs of v1, serves both.
import {
  toBinary,
  type DescExtension,
  type DescFile,
  type DescMessage,
  type MessageInitShape,
} from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { file_google_rpc_error_details } from "./gen/google/rpc/error_details_pb.ts";
import {
  ServerReflection,
  ServerReflectionRequestSchema,
  ServerReflectionResponseSchema,
  type ServerReflectionRequest,
} from "./gen/grpc/reflection/v1/reflection_pb.ts";
import { ServerReflection as ServerReflectionV1Alpha } from "./gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { findCodec } from "./grpc/codec.ts";
import { Frames } from "./grpc/frames.ts";
import { serve, type ServedService } from "./grpc/routes.ts";
import { Code, RpcError } from "./grpc/status.ts";

/**
 * Reflection of these services, itself included; add both to the server's services. Further files (that hold
 * extensions, or messages carried in google.protobuf.Any) may be added.
 */
export function serveReflection(services: readonly ServedService[], files: readonly DescFile[] = []): ServedService[] {
  const own = [ServerReflection, ServerReflectionV1Alpha];
  const names = [...services.map(({ desc }) => desc), ...own].map((desc) => desc.typeName).toSorted();
  const declaring = [...services.map(({ desc }) => desc.file), ...own.map((desc) => desc.file)];
  // Details of errors are no part of any service's messages; with these a tool can show them.
  const index = indexFiles([...declaring, file_google_rpc_error_details, ...files]);
  const handlers = {
    serverReflectionInfo: {
      raw: true as const,
      async *bidi(requests: AsyncIterable<Uint8Array>) {
        for await (const bytes of requests) {
          const request = requestCodec.decode(bytes) as ServerReflectionRequest;
          const answer = answerTo(request, index, names);
          yield new Frames(responseCodec.encode({ ...answer, originalRequest: request, validHost: request.host }));
        }
      },
    },
  };
  return [serve(ServerReflection, handlers), serve(ServerReflectionV1Alpha, handlers)];
}

const requestCodec = findCodec(undefined, ServerReflectionRequestSchema);
const responseCodec = findCodec(undefined, ServerReflectionResponseSchema);

type Response = Pick<MessageInitShape<typeof ServerReflectionResponseSchema>, "messageResponse">;

interface FileIndex {
  readonly byName: ReadonlyMap<string, DescFile>;
  readonly bySymbol: ReadonlyMap<string, DescFile>;
  /** Extensions by the full name of what they extend. */
  readonly extensions: ReadonlyMap<string, readonly DescExtension[]>;
  readonly messages: ReadonlySet<string>;
}

/** Everything that is declared in the files and in what they import. */
function indexFiles(roots: readonly DescFile[]): FileIndex {
  const byName = new Map<string, DescFile>();
  const bySymbol = new Map<string, DescFile>();
  const extensions = new Map<string, DescExtension[]>();
  const messages = new Set<string>();
  const addExtension = (extension: DescExtension): void => {
    bySymbol.set(extension.typeName, extension.file);
    const known = extensions.get(extension.extendee.typeName) ?? [];
    extensions.set(extension.extendee.typeName, [...known, extension]);
  };
  const addMessage = (message: DescMessage): void => {
    messages.add(message.typeName);
    bySymbol.set(message.typeName, message.file);
    for (const field of message.fields) bySymbol.set(`${message.typeName}.${field.name}`, message.file);
    for (const oneof of message.oneofs) bySymbol.set(`${message.typeName}.${oneof.name}`, message.file);
    addEnums(message.nestedEnums);
    // protobuf-es leaves the generated types of map entries out of its lists; for tools they are messages like any other.
    for (const entry of message.proto.nestedType) {
      if (entry.options?.mapEntry === true) addMapEntry(`${message.typeName}.${entry.name}`, message.file);
    }
    message.nestedMessages.forEach(addMessage);
    message.nestedExtensions.forEach(addExtension);
  };
  const addMapEntry = (name: string, file: DescFile): void => {
    messages.add(name);
    for (const symbol of [name, `${name}.key`, `${name}.value`]) bySymbol.set(symbol, file);
  };
  const addEnums = (enums: DescFile["enums"]): void => {
    for (const each of enums) {
      bySymbol.set(each.typeName, each.file);
      // An enum's values live in the scope that the enum lives in.
      const scope = each.typeName.slice(0, each.typeName.lastIndexOf(".") + 1);
      for (const value of each.values) bySymbol.set(scope + value.name, each.file);
    }
  };
  const addFile = (file: DescFile): void => {
    if (byName.has(file.proto.name)) return;
    byName.set(file.proto.name, file);
    file.dependencies.forEach(addFile);
    addEnums(file.enums);
    file.messages.forEach(addMessage);
    file.extensions.forEach(addExtension);
    for (const service of file.services) {
      bySymbol.set(service.typeName, file);
      for (const method of service.methods) bySymbol.set(`${service.typeName}.${method.name}`, file);
    }
  };
  roots.forEach(addFile);
  return { byName, bySymbol, extensions, messages };
}

function answerTo(request: ServerReflectionRequest, index: FileIndex, names: readonly string[]): Response {
  const asked = request.messageRequest;
  switch (asked.case) {
    case "fileByFilename":
      return files(index.byName.get(asked.value), `file "${asked.value}"`);
    case "fileContainingSymbol":
      return files(index.bySymbol.get(asked.value), `symbol "${asked.value}"`);
    case "fileContainingExtension": {
      const { containingType, extensionNumber } = asked.value;
      const extension = index.extensions.get(containingType)?.find((each) => each.number === extensionNumber);
      return files(extension?.file, `extension ${extensionNumber} of "${containingType}"`);
    }
    case "allExtensionNumbersOfType": {
      if (!index.messages.has(asked.value)) return notFound(`message "${asked.value}"`);
      const extensionNumber = (index.extensions.get(asked.value) ?? [])
        .map((each) => each.number)
        .toSorted((a, b) => a - b);
      const value = { baseTypeName: asked.value, extensionNumber };
      return { messageResponse: { case: "allExtensionNumbersResponse", value } };
    }
    case "listServices":
      return { messageResponse: { case: "listServicesResponse", value: { service: names.map((name) => ({ name })) } } };
    case undefined:
      throw new RpcError(Code.INVALID_ARGUMENT, "Cannot answer a reflection request that asks for nothing");
    default:
      return asked satisfies never;
  }
}

/** The file, then what it imports, each once: a client needs no second question. */
function files(file: DescFile | undefined, what: string): Response {
  if (file === undefined) return notFound(what);
  const all = new Set<DescFile>();
  const add = (each: DescFile): void => {
    if (all.has(each)) return;
    all.add(each);
    each.dependencies.forEach(add);
  };
  add(file);
  const fileDescriptorProto = [...all].map(serialized);
  return { messageResponse: { case: "fileDescriptorResponse", value: { fileDescriptorProto } } };
}

const cache = new WeakMap<DescFile, Uint8Array>();

function serialized(file: DescFile): Uint8Array {
  const known = cache.get(file);
  if (known !== undefined) return known;
  const bytes = toBinary(FileDescriptorProtoSchema, file.proto);
  cache.set(file, bytes);
  return bytes;
}

function notFound(what: string): Response {
  const value = {
    errorCode: Code.NOT_FOUND,
    errorMessage: `Cannot find the ${what}: no service of this server uses it`,
  };
  return { messageResponse: { case: "errorResponse", value } };
}
