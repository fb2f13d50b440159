// A worker without a network: it says what the test wants, and keeps what it is told.
import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { QueueService, WorkRequestSchema, WorkResponseSchema } from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream } from "@sluice/rpc";
import { FakeCall } from "../../stream/testing/fake-call.ts";
import type { QueueServiceHandle } from "../service.ts";
import { ScriptedWorker, type SubscribeInit, type WorkKind } from "./scripted-worker.ts";

/** One Work stream. */
export class TestWorker extends ScriptedWorker implements FrameStream {
  readonly call = new FakeCall(QueueService.method.work);
  /** Nothing is read while it is true. */
  isStalled = false;
  #source: FrameSource | undefined = undefined;
  #isPulling = false;
  readonly #requests: Uint8Array[] = [];
  #wakeReader: () => void = () => {};
  #isHalfClosed = false;

  /** Opens the stream, and subscribes. */
  static async open(service: QueueServiceHandle, subscribe: SubscribeInit): Promise<TestWorker> {
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

  say(kind: WorkKind): void {
    this.sayBytes(toBinary(WorkRequestSchema, create(WorkRequestSchema, { kind })));
  }

  sayBytes(bytes: Uint8Array): void {
    this.#requests.push(bytes);
    this.#wakeReader();
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
    this.changed();
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
    this.changed();
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
