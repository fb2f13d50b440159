// How the runner of connectconformance talks to a program: messages on stdin and stdout, each behind its length (4 bytes,
// big-endian).
import {
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  create,
  toBinary,
} from "@bufbuild/protobuf";

/** Messages from stdin, until the runner closes it. */
export async function* readMessages<D extends DescMessage>(desc: D): AsyncGenerator<MessageShape<D>, undefined> {
  let buffer = Buffer.alloc(0);
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    buffer = Buffer.concat([buffer, chunk]);
    while (buffer.length >= 4 && buffer.length >= 4 + buffer.readUInt32BE(0)) {
      const end = 4 + buffer.readUInt32BE(0);
      yield fromBinary(desc, buffer.subarray(4, end));
      buffer = buffer.subarray(end);
    }
  }
}

export function writeMessage<D extends DescMessage>(desc: D, message: MessageInitShape<D>): void {
  const bytes = toBinary(desc, create(desc, message));
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(bytes.length);
  process.stdout.write(Buffer.concat([prefix, bytes]));
}
