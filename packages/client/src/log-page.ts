// One page of a log, the newest entries first.
import type { MessageInitShape } from "@bufbuild/protobuf";
import { type Gap, type LogBatch, type LogEntry, type LogStreamRequestSchema, type Notice, Order } from "@sluice/api";
import { Code, RpcError } from "@sluice/rpc";
import { type LogSelection, selectionOf } from "./log-position.ts";

/** Which page is wanted. */
export interface LogPageQuery extends LogSelection {
  /** Entries of a page, at most. */
  readonly limit: number;
  /** `olderToken` of the page before. Absent: from the newest entry on. */
  readonly olderThan?: string;
}

/** Entries, newest first, and where the next page begins. */
export interface LogPage {
  /** Newest first. */
  readonly entries: readonly LogEntry[];
  /** For the next page; undefined: nothing older is there. */
  readonly olderToken: string | undefined;
  /** False: the time was up before the page was full; `olderToken` goes on where the search stopped. */
  readonly isComplete: boolean;
  /** What is missing between the entries. */
  readonly gaps: readonly Gap[];
  readonly notices: readonly Notice[];
}

/** The one call that a page needs. */
export interface StreamPageCall {
  (
    request: MessageInitShape<typeof LogStreamRequestSchema>,
    options: { signal: AbortSignal; timeoutMs?: number },
  ): AsyncIterable<Pick<LogBatch, "entries" | "control">>;
}

/** Reads a page. What came before the deadline is a page as well, if it says where to go on. @throws RpcError */
export async function readPage(
  query: LogPageQuery,
  call: StreamPageCall,
  options: { signal: AbortSignal; timeoutMs?: number },
): Promise<LogPage> {
  const entries: LogEntry[] = [];
  const gaps: Gap[] = [];
  const notices: Notice[] = [];
  let token = "";
  let isComplete = true;
  const request = {
    ...selectionOf(query),
    order: Order.NEWEST_FIRST,
    limit: BigInt(query.limit),
    resumeAfter: query.olderThan ?? "",
    controlFrames: true,
  };
  try {
    for await (const message of call(request, options)) {
      const last = message.entries.at(-1);
      if (last !== undefined) token = last.cursor;
      entries.push(...message.entries);
      const kind = message.control?.kind;
      if (kind?.case === "sync") token = kind.value.cursor;
      if (kind?.case === "gap") gaps.push(kind.value);
      if (kind?.case === "notice") notices.push(kind.value);
    }
  } catch (error) {
    const isLate = error instanceof RpcError && error.code === Code.DEADLINE_EXCEEDED;
    if (!isLate || token === "") throw error;
    isComplete = false;
  }
  return { entries, olderToken: token === "" ? undefined : token, isComplete, gaps, notices };
}
