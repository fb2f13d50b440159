// Uploads by FileService: StartUpload, UploadFile, GetUpload, CommitUpload, AbortUpload.
import { crc32 } from "node:zlib";
import { FileService, type UploadFileResponse } from "@sluice/api";
import { createClient, openChannel } from "@sluice/rpc";
import { collect, createRequests } from "../../support/log-client.ts";
import { type OpenDriver, type UploadDriver, UploadFault } from "../upload-driver.ts";
import { ask } from "./rpc-fault.ts";

interface Chunk {
  readonly uploadId?: string;
  readonly offset?: bigint;
  readonly data?: Uint8Array;
  readonly chunkCrc32?: number;
}

/** What `start` returns is the upload's id. */
export const openGrpcDriver: OpenDriver = (address): UploadDriver => {
  const channel = openChannel(address);
  const files = createClient(FileService, channel);
  return {
    name: "FileService",
    abilities: {
      checksPieces: true,
      checksWhole: true,
      knowsSize: true,
      skipsDuplicates: true,
      aborts: true,
      commitsWithLastByte: false,
    },
    async start(filePath, { size, sha256 = "" }) {
      const { upload } = await ask(files.startUpload({ filePath, size: BigInt(size), checksum: sha256 }));
      return upload!.uploadId;
    },
    send(uploadId, offset, { checksum } = {}) {
      const cut = new AbortController();
      const requests = createRequests<Chunk>();
      const answers: Promise<UploadFileResponse[]> = collect(files.uploadFile(requests, { signal: cut.signal }));
      answers.catch(() => {});
      requests.send({ uploadId });
      let at = offset;
      return {
        write(data) {
          const sum = crc32(data);
          const chunkCrc32 = checksum === undefined ? {} : { chunkCrc32: checksum === "right" ? sum : (sum ^ 1) >>> 0 };
          requests.send({ offset: BigInt(at), data, ...chunkCrc32 });
          at += data.length;
          return Promise.resolve();
        },
        async end() {
          requests.end();
          return Number((await ask(answers)).at(-1)?.durableOffset);
        },
        cut: () => cut.abort(),
      };
    },
    async status(uploadId) {
      try {
        const { upload } = await ask(files.getUpload({ uploadId }));
        return { offset: Number(upload?.durableOffset), isCommitted: upload?.isCommitted === true };
      } catch (error) {
        if (error instanceof UploadFault && error.kind === "gone") return "gone";
        throw error;
      }
    },
    async commit(uploadId) {
      await ask(collect(files.commitUpload({ uploadId })));
    },
    async abort(uploadId) {
      await ask(files.abortUpload({ uploadId }));
    },
    [Symbol.asyncDispose]: () => channel.close(),
  };
};
