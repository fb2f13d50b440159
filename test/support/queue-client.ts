// Plain typed calls to the queues of a server: no retry, no resume, so that a test sees what the server says.
import { type NewJobSchema, QueueService, type WorkRequest, WorkRequestSchema, type WorkResponse } from "@sluice/api";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type CallOptions, type Channel, type Client, createClient, openChannel } from "@sluice/rpc";
import {
  ScriptedWorker,
  type SubscribeInit,
  type WorkKind,
} from "../../packages/server/src/queues/testing/scripted-worker.ts";

export interface QueueClient extends AsyncDisposable {
  readonly channel: Channel;
  readonly queues: Client<typeof QueueService>;
  /** Enqueues in one batch; answers the ids. */
  enqueue(queue: string, ...jobs: MessageInitShape<typeof NewJobSchema>[]): Promise<string[]>;
  /** Opens a Work stream. */
  work(subscribe: SubscribeInit, options?: CallOptions): RemoteWorker;
}

/** Opens a connection of its own. */
export function openQueueClient(address: string): QueueClient {
  const channel = openChannel(address);
  const queues = createClient(QueueService, channel);
  return {
    channel,
    queues,
    async enqueue(queue, ...jobs) {
      const answer = await queues.enqueue({ queue, jobs });
      return answer.jobs.map(({ jobId }) => jobId);
    },
    work: (subscribe, options) => new RemoteWorker(queues, subscribe, options),
    [Symbol.asyncDispose]: () => channel.close(),
  };
}

/** A worker over the network. */
export class RemoteWorker extends ScriptedWorker {
  readonly #requests: WorkRequest[] = [];
  #isHalfClosed = false;
  #wakeSender: () => void = () => {};
  readonly #abort = new AbortController();

  constructor(client: Client<typeof QueueService>, subscribe: SubscribeInit, options?: CallOptions) {
    super();
    this.say({ case: "subscribe", value: subscribe });
    void this.#read(client.work(this.#sending(), { ...options, signal: this.#abort.signal }));
  }

  say(kind: WorkKind): void {
    this.#requests.push(create(WorkRequestSchema, { kind }));
    this.#wakeSender();
  }

  halfClose(): void {
    this.#isHalfClosed = true;
    this.#wakeSender();
  }

  /** The call is given up. */
  cut(): void {
    this.#abort.abort();
  }

  async #read(responses: AsyncIterable<WorkResponse>): Promise<void> {
    try {
      for await (const { kind } of responses) {
        this.told.push(kind);
        this.changed();
      }
      this.ended = { error: undefined };
    } catch (error) {
      this.ended = { error };
    }
    this.changed();
  }

  async *#sending(): AsyncGenerator<WorkRequest> {
    while (this.ended === undefined) {
      const next = this.#requests.shift();
      if (next !== undefined) yield next;
      else if (this.#isHalfClosed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wakeSender = resolve;
        });
      }
    }
  }
}
