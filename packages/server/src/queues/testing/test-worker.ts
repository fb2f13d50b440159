// A worker without a network: it says what the test wants, and keeps what it is told.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type Delivery,
  type Lease,
  type LeaseResult,
  QueueService,
  type WorkRequestSchema as RequestSchema,
  WorkRequestSchema,
  type WorkResponse,
  WorkResponseSchema,
} from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream } from "@sluice/rpc";
import { FakeCall } from "../../stream/testing/fake-call.ts";
import type { QueueServiceHandle } from "../service.ts";

type Kind = NonNullable<MessageInitShape<typeof RequestSchema>["kind"]>;
type Said<C extends WorkResponse["kind"]["case"]> = Extract<WorkResponse["kind"], { case: C }>["value"];
type Subscribe = Extract<Kind, { case: "subscribe" }>["value"];

/** One Work stream. */
export class TestWorker implements FrameStream {
  readonly call = new FakeCall(QueueService.method.work);
  /** Everything that it was told. */
  readonly told: WorkResponse["kind"][] = [];
  /** How the stream ended; undefined: it has not. */
  ended: { readonly error: unknown } | undefined = undefined;
  /** Nothing is read while it is true. */
  isStalled = false;
  #source: FrameSource | undefined = undefined;
  #isPulling = false;
  #nextRequest = 1n;
  readonly #requests: Uint8Array[] = [];
  #wakeReader: () => void = () => {};
  #isHalfClosed = false;
  #wakers: (() => void)[] = [];

  /** Opens the stream, and subscribes. */
  static async open(service: QueueServiceHandle, subscribe: Subscribe): Promise<TestWorker> {
    const worker = new TestWorker();
    worker.say({ case: "subscribe", value: subscribe });
    await worker.start(service);
    return worker;
  }

  /** Opens the stream; what was said before goes with it. */
  async start(service: QueueServiceHandle): Promise<void> {
    const { work } = service.handlers;
    if (work === undefined || !("raw" in work) || work.bidi === undefined) throw new Error("no such handler");
    this.#source = (await work.bidi(this.#incoming(), this.call)) as FrameSource;
    this.#source.attach(this);
    this.wake();
  }

  say(kind: Kind): void {
    this.sayBytes(toBinary(WorkRequestSchema, create(WorkRequestSchema, { kind })));
  }

  sayBytes(bytes: Uint8Array): void {
    this.#requests.push(bytes);
    this.#wakeReader();
  }

  flow(seen: number, window: number, windowBytes = 0): void {
    this.say({ case: "flow", value: { seen: BigInt(seen), window, windowBytes: BigInt(windowBytes) } });
  }

  startJobs(leases: readonly Lease[]): Promise<LeaseResult[]> {
    const request = this.#nextRequest++;
    this.say({ case: "start", value: { request, leases: [...leases] } });
    return this.results(request);
  }

  ack(leases: readonly Lease[]): Promise<LeaseResult[]> {
    const request = this.#nextRequest++;
    this.say({ case: "ack", value: { request, leases: [...leases] } });
    return this.results(request);
  }

  async results(request: bigint): Promise<LeaseResult[]> {
    const answer = () => this.all("results").find((each) => each.request === request);
    await this.until(() => answer() !== undefined);
    return answer()!.results;
  }

  /** What it was told of one kind. */
  all<C extends WorkResponse["kind"]["case"]>(kind: C): Said<C>[] {
    return this.told.flatMap((each) => (each.case === kind ? [each.value as Said<C>] : []));
  }

  /** Resolves with the deliveries when there are so many. */
  async deliveries(count: number): Promise<Delivery[]> {
    await this.until(() => this.all("delivery").length >= count);
    return this.all("delivery");
  }

  /** Resolves when the condition holds. Rejects when the stream ends before. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.ended !== undefined) throw new Error("The stream has ended", { cause: this.ended.error });
      await new Promise<void>((resolve) => this.#wakers.push(resolve));
    }
  }

  /** Resolves with the error of the stream's end; undefined: it ended well. */
  async ending(): Promise<unknown> {
    while (this.ended === undefined) await new Promise<void>((resolve) => this.#wakers.push(resolve));
    return this.ended.error;
  }

  halfClose(): void {
    this.#isHalfClosed = true;
    this.#wakeReader();
  }

  /** The connection is lost. */
  cut(): void {
    this.call.end();
    this.#wakeReader();
  }

  // FrameStream.

  wake(): void {
    if (this.#isPulling || this.#source === undefined || this.isStalled || this.ended !== undefined) return;
    this.#isPulling = true;
    for (let frames = this.#source.pull(16_384); frames !== undefined; frames = this.#source.pull(16_384))
      this.#read(frames);
    this.#isPulling = false;
    for (const waker of this.#wakers.splice(0)) waker();
  }

  end(): void {
    this.#end(undefined);
  }

  fail(error: unknown): void {
    this.#end(error);
  }

  #end(error: unknown): void {
    this.ended ??= { error };
    this.call.end();
    for (const waker of this.#wakers.splice(0)) waker();
  }

  #read(frames: Uint8Array): void {
    const view = new DataView(frames.buffer, frames.byteOffset, frames.byteLength);
    for (let at = 0; at < frames.length;) {
      const end = at + FRAME_HEADER_BYTES + view.getUint32(at + 1);
      this.told.push(fromBinary(WorkResponseSchema, frames.subarray(at + FRAME_HEADER_BYTES, end)).kind);
      at = end;
    }
  }

  async *#incoming(): AsyncGenerator<Uint8Array> {
    for (;;) {
      if (this.call.isEnded) throw new Error("The call has ended");
      const next = this.#requests.shift();
      if (next !== undefined) yield next;
      else if (this.#isHalfClosed) return;
      else {
        await new Promise<void>((resolve) => {
          this.#wakeReader = resolve;
        });
      }
    }
  }
}
