// A log as the contract promises it, in memory: what the server does with WriteLogStream, without a server.
import { create, fromBinary, type MessageInitShape } from "@bufbuild/protobuf";
import {
  type LogEntry,
  type RejectedEntry,
  RejectedEntrySchema,
  type WriteLogStreamRequest,
  WriteLogStreamRequestSchema,
  type WriteLogStreamResponse,
  WriteLogStreamResponseSchema,
} from "@sluice/api";
import { Code, type Frames, RpcError } from "@sluice/rpc";
import type { WriteLogStreamCall } from "../write-session.ts";
import { Feed } from "./feed.ts";

/** One WriteLogStream call as the server sees it. */
export class ModelCall {
  readonly requests: WriteLogStreamRequest[] = [];
  readonly responses: Feed<WriteLogStreamResponse>;
  readonly signal: AbortSignal;
  /** The client half-closed. */
  isEnded = false;
  isLost = false;

  constructor(signal: AbortSignal) {
    this.signal = signal;
    this.responses = new Feed(signal);
  }

  answer(response: MessageInitShape<typeof WriteLogStreamResponseSchema>): void {
    this.responses.push(create(WriteLogStreamResponseSchema, response));
  }

  /** The connection breaks: no more requests are seen. */
  lose(): void {
    this.isLost = true;
    this.responses.fail(new RpcError(Code.UNAVAILABLE, "connection lost"));
  }
}

/** What a test's server does with each request; `taken` counts the entries of the call before it. */
export type OnRequest = (request: WriteLogStreamRequest, call: ModelCall, taken: number) => void;

export class ModelServer {
  readonly calls: ModelCall[] = [];
  /** Entries for which each call has credit from the beginning; 0: it says nothing of its own. */
  firstWindow = 1000;
  readonly #onRequest: OnRequest;

  constructor(onRequest: OnRequest = () => undefined) {
    this.#onRequest = onRequest;
  }

  /** The newest call. */
  get call(): ModelCall {
    const call = this.calls.at(-1);
    if (call === undefined) throw new Error("There was no call yet");
    return call;
  }

  writeLogStream: WriteLogStreamCall = (requests, { signal }) => {
    const call = new ModelCall(signal);
    this.calls.push(call);
    if (this.firstWindow > 0) call.answer({ flow: { window: this.firstWindow } });
    void this.#read(requests, call);
    return call.responses;
  };

  async #read(requests: AsyncIterable<Frames>, call: ModelCall): Promise<void> {
    let taken = 0;
    for await (const { bytes } of requests) {
      if (call.signal.aborted || call.isLost) return;
      const request = fromBinary(WriteLogStreamRequestSchema, bytes.subarray(5));
      call.requests.push(request);
      this.#onRequest(request, call, taken);
      taken += request.entries.length;
    }
    call.isEnded = true;
    call.responses.end();
  }
}

/** Entries in order; of a producer each sequence once; entries whose message starts with "bad" are rejected. */
export class ModelLog {
  readonly entries: LogEntry[] = [];
  readonly #last = new Map<string, number>();
  /** Up to here a producer was answered, accepted or not. */
  readonly #answered = new Map<string, number>();

  /** Takes a request of a call, as the contract says. Returns the response. */
  append(request: WriteLogStreamRequest, producer: string, taken: number): WriteLogStreamResponse {
    const first = Number(request.firstProducerSequence);
    const answered = this.#answered.get(producer);
    if (answered !== undefined && first > Math.max(answered, Number(request.settledProducerSequence)) + 1) {
      throw new Error(`A gap: ${first} after ${answered}`);
    }
    this.#answered.set(producer, Math.max(answered ?? 0, first + request.entries.length - 1));
    const rejected: RejectedEntry[] = [];
    let duplicates = 0;
    for (const [i, entry] of request.entries.entries()) {
      if (entry.message.startsWith("bad")) {
        rejected.push(create(RejectedEntrySchema, { index: BigInt(taken + i), reason: "BAD", text: "it is bad" }));
      } else if (first + i <= (this.#last.get(producer) ?? 0)) {
        duplicates++;
      } else {
        this.entries.push(entry);
        this.#last.set(producer, first + i);
      }
    }
    return create(WriteLogStreamResponseSchema, {
      acknowledged: BigInt(taken + request.entries.length),
      rejected,
      duplicates: BigInt(duplicates),
      flow: { seen: BigInt(taken + request.entries.length), window: 7 },
    });
  }
}
