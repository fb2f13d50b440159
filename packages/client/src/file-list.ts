// A listing that outlives its connections: each message says how to go on behind it.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { FileInfo, ListFilesRequestSchema, ListFilesResponse } from "@sluice/api";
import { Retrier, type RetryPolicy } from "./retry.ts";
import { type Clock, type Random, sleep } from "./time.ts";

/** What is listed. */
export interface FileListQuery {
  /** The folder. Default: all that is shared. */
  readonly path?: string;
  /** Also what is in the folders below. */
  readonly isRecursive?: boolean;
  /** Only paths, relative to the folder, that match one of these. */
  readonly globs?: readonly string[];
}

/** The one call that a listing needs. */
export interface ListFilesCall {
  (
    request: MessageInitShape<typeof ListFilesRequestSchema>,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<ListFilesResponse>;
}

/** @throws RpcError; the signal's reason */
export async function* listFiles(
  query: FileListQuery,
  context: {
    readonly call: ListFilesCall;
    readonly policy: RetryPolicy;
    readonly clock: Clock;
    readonly random: Random;
    readonly signal: AbortSignal;
  },
): AsyncGenerator<FileInfo> {
  const { call, policy, clock, random, signal } = context;
  const retrier = new Retrier(policy, random);
  let pageToken = "";
  for (;;) {
    try {
      const request = {
        path: query.path ?? "",
        recursive: query.isRecursive ?? false,
        globs: [...(query.globs ?? [])],
      };
      for await (const { files, nextPageToken } of call({ ...request, pageToken }, { signal })) {
        retrier.succeeded();
        yield* files;
        if (nextPageToken === "") return;
        pageToken = nextPageToken;
      }
      return;
    } catch (error) {
      signal.throwIfAborted();
      await sleep(clock, retrier.failed(error), signal);
    }
  }
}
