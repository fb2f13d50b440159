// Uploads by google.bytestream.ByteStream: Write and QueryWriteStatus.
import { randomUUID } from "node:crypto";
import { ByteStream } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import { createRequests } from "../../support/log-client.ts";
import { type OpenDriver, type UploadDriver, UploadFault, type UploadStatus } from "../upload-driver.ts";
import { ask } from "./rpc-fault.ts";

interface Request {
  readonly resourceName?: string;
  readonly writeOffset?: bigint;
  readonly data?: Uint8Array;
  readonly finishWrite?: boolean;
}

/** What `start` returns is the resource's name. */
export const openByteStreamDriver: OpenDriver = (address): UploadDriver => {
  const channel = openChannel(address);
  const bytes = createClient(ByteStream, channel);

  async function writeOne(request: Request): Promise<void> {
    const requests = createRequests<Request>();
    requests.send(request);
    requests.end();
    await ask(bytes.write(requests));
  }

  async function status(resourceName: string): Promise<UploadStatus | "gone"> {
    try {
      const { committedSize, complete } = await ask(bytes.queryWriteStatus({ resourceName }));
      return { offset: Number(committedSize), isCommitted: complete };
    } catch (error) {
      if (error instanceof UploadFault && error.kind === "gone") return "gone";
      throw error;
    }
  }

  return {
    name: "ByteStream",
    abilities: {
      checksPieces: false,
      checksWhole: false,
      knowsSize: false,
      skipsDuplicates: false,
      aborts: false,
      commitsWithLastByte: false,
    },
    async start(path) {
      const resourceName = `uploads/${randomUUID()}/files/${path}`;
      await writeOne({ resourceName });
      return resourceName;
    },
    send(resourceName, offset) {
      const cut = new AbortController();
      const requests = createRequests<Request>();
      const answer = bytes.write(requests, { signal: cut.signal });
      answer.catch(() => {});
      requests.send({ resourceName, writeOffset: BigInt(offset) });
      let at = offset;
      return {
        write(data) {
          requests.send({ writeOffset: BigInt(at), data });
          at += data.length;
          return Promise.resolve();
        },
        async end() {
          requests.end();
          return Number((await ask(answer)).committedSize);
        },
        cut: () => cut.abort(),
      };
    },
    status,
    async commit(resourceName) {
      const now = await status(resourceName);
      if (now === "gone") throw new UploadFault("gone", resourceName);
      await writeOne({ resourceName, writeOffset: BigInt(now.offset), finishWrite: true });
    },
    abort: () => Promise.reject(new UploadFault("other", "ByteStream cannot give an upload up")),
    [Symbol.asyncDispose]: () => channel.close(),
  };
};
