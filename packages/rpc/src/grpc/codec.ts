// How messages become bytes: protobuf-es, or a faster codec that a program gives for a hot message.
import {
  create,
  fromBinary,
  isMessage,
  toBinary,
  type DescMessage,
  type MessageInitShape,
  type MessageShape,
} from "@bufbuild/protobuf";
import { frameOf } from "./frames.ts";
import { createMessageEncoder } from "./message-encoder.ts";
import { Code, RpcError } from "./status.ts";

/** A codec for one message type; what is left out falls back to protobuf-es. Its bytes must be the same protobuf. */
export interface Codec {
  readonly desc: DescMessage;
  readonly decode?: (bytes: Uint8Array) => unknown;
  readonly encode?: (message: unknown) => Uint8Array;
}

/** A typed codec as the table wants it. */
export function codecOf<D extends DescMessage>(
  desc: D,
  functions: { decode?: (bytes: Uint8Array) => MessageShape<D>; encode?: (message: MessageInitShape<D>) => Uint8Array },
): Codec {
  const { decode, encode } = functions;
  return {
    desc,
    ...(decode === undefined ? {} : { decode }),
    ...(encode === undefined ? {} : { encode: (message: unknown) => encode(message as MessageInitShape<D>) }),
  };
}

export type Decode = (bytes: Uint8Array) => unknown;
/** A message as a gRPC frame. */
export type Encode = (message: unknown) => Uint8Array;

/** The functions of one type. Both throw RpcError INTERNAL for what cannot be read or written. */
export function findCodec(
  codecs: readonly Codec[] | undefined,
  desc: DescMessage,
  options = { isFreed: false },
): { decode: Decode; encode: Encode } {
  const codec = codecs?.find((each) => each.desc.typeName === desc.typeName);
  const decode = codec?.decode ?? ((bytes: Uint8Array) => fromBinary(desc, bytes));
  const encodeFast = codec?.encode === undefined ? createMessageEncoder(desc, options) : undefined;
  const encodeMessage = codec?.encode ?? ((message: unknown) => encodeAny(desc, message));
  const encode = (message: unknown): Uint8Array => encodeFast?.(message) ?? frameOf(encodeMessage(message));
  return {
    decode(bytes) {
      try {
        return decode(bytes);
      } catch (error) {
        throw new RpcError(Code.INTERNAL, `Cannot decode a message as ${desc.typeName}: ${textOf(error)}`, {
          cause: error,
        });
      }
    },
    encode(message) {
      try {
        return encode(message);
      } catch (error) {
        throw new RpcError(Code.INTERNAL, `Cannot encode a message as ${desc.typeName}: ${textOf(error)}`, {
          cause: error,
        });
      }
    },
  };
}

function encodeAny(desc: DescMessage, message: unknown): Uint8Array {
  if (isMessage(message, desc)) return toBinary(desc, message);
  return toBinary(desc, create(desc, message as MessageInitShape<DescMessage>));
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
