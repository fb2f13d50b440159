// Requests of a stream of bytes, whose memory is used again when the next one is asked for (`RawHandler.lends`): what arrives for an
// upload is copied into its block at once, and new memory for each request cost more than that (benchmark `files-upload`).
import { type DescMessage, fromBinary, type MessageShape } from "@bufbuild/protobuf";
import { InvalidRequest } from "../../errors.ts";

/** @throws InvalidRequest for what is no message of this type */
export async function* decodeLent<D extends DescMessage>(
  schema: D,
  requests: AsyncIterable<Uint8Array>,
): AsyncGenerator<MessageShape<D>, undefined> {
  for await (const bytes of requests) yield decode(schema, bytes);
}

function decode<D extends DescMessage>(schema: D, bytes: Uint8Array): MessageShape<D> {
  try {
    return fromBinary(schema, bytes);
  } catch {
    throw new InvalidRequest("MALFORMED_MESSAGE", [{ field: "", description: `is no ${schema.typeName}` }]);
  }
}
