// The notification service without a server: its handlers are called as the RPC core calls them, its streams pulled.
import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import {
  type Notification,
  NotificationSchema,
  NotificationService,
  PublishRequestSchema,
  type PublishResponse,
  PublishResponseSchema,
} from "@sluice/api";
import { type Call, FRAME_HEADER_BYTES, type FrameSource, type FrameStream } from "@sluice/rpc";
import { ManualClock } from "@sluice/rpc/testing";
import { DEFAULT_LIMITS, type Limits } from "../../limits.ts";
import { allowAll, type Authorize } from "../../security/authorize.ts";
import { FakeCall } from "../../stream/testing/fake-call.ts";
import type { PublishVerdict } from "../contract.ts";
import { Presence } from "../presence.ts";
import { refuseEndpoint, refuseKeys } from "../sinks/web-push.ts";
import { createNotificationService, type NotificationServiceHandle } from "../service.ts";
import { MemoryStore } from "./memory-store.ts";

type Methods = typeof NotificationService.method;
type Name = keyof Methods;
type Input<N extends Name> = MessageInitShape<Methods[N]["input"]>;

export class ServiceFixture {
  readonly clock = new ManualClock();
  readonly store: MemoryStore;
  readonly service: NotificationServiceHandle;
  /** What those who are away were to be told of. */
  readonly published: PublishVerdict[] = [];

  constructor({
    authorize = allowAll,
    limits = {},
    epoch = 7,
  }: { authorize?: Authorize; limits?: Partial<Limits>; epoch?: number } = {}) {
    this.store = new MemoryStore(epoch);
    const source = { current: this.store, onFailure: () => {} };
    this.service = createNotificationService({
      source,
      authorize,
      clock: this.clock,
      limits: { ...DEFAULT_LIMITS, ...limits },
      presence: new Presence(this.clock),
      sinks: {
        publicKey: "the key of this server",
        refuse: ({ endpoint, ...keys }) => {
          const description = refuseEndpoint(endpoint, ["push.example"]);
          if (description !== undefined) return { field: "endpoint", description };
          const wrong = refuseKeys(keys);
          if (wrong === undefined) return undefined;
          return { field: wrong.startsWith("auth") ? "auth" : "p256dh", description: wrong };
        },
        published: (_drafts, verdicts) => {
          this.published.push(...verdicts);
          return Promise.resolve();
        },
      },
    });
  }

  /** Calls a handler with one answer, or that begins a stream. */
  async call<N extends Name>(name: N, request: Input<N>, call: Call = new FakeCall()): Promise<unknown> {
    const { input } = NotificationService.method[name];
    const message = create(input, request as never);
    const handler = this.service.handlers[name] as unknown;
    if (typeof handler === "function")
      return await (handler as (request: unknown, call: Call) => unknown)(message, call);
    const { unary } = handler as { unary: (bytes: Uint8Array, call: Call) => unknown };
    return await unary(toBinary(input, message), call);
  }

  async publish(
    ...notifications: MessageInitShape<typeof PublishRequestSchema>["notifications"] & {}
  ): Promise<PublishResponse> {
    return create(PublishResponseSchema, (await this.call("publish", { notifications })) as PublishResponse);
  }

  async subscribe(request: Input<"subscribeToNotifications">, { isSeed = false } = {}): Promise<StreamReader> {
    const call = new FakeCall();
    if (!isSeed)
      return new StreamReader((await this.call("subscribeToNotifications", request, call)) as FrameSource, call);
    const handler = this.service.seedHandlers.subscribeToNotifications as (
      request: unknown,
      call: Call,
    ) => FrameSource | Promise<FrameSource>;
    const { input } = NotificationService.method.subscribeToNotifications;
    return new StreamReader(await handler(create(input, request), call), call);
  }
}

/** The transport of one stream: pulls when the test says so. */
export class StreamReader implements FrameStream {
  readonly source: FrameSource;
  readonly call: FakeCall;
  error: unknown;
  wakes = 0;

  constructor(source: FrameSource, call: FakeCall) {
    this.source = source;
    this.call = call;
    source.attach(this);
  }
  wake(): void {
    this.wakes++;
  }
  end(): void {}
  fail(error: unknown): void {
    this.error = error;
  }

  /** The frames that are there now, as they are handed out. */
  frames(maxBytes = 64): Uint8Array[] {
    const frames: Uint8Array[] = [];
    for (let bytes = this.source.pull(maxBytes); bytes !== undefined; bytes = this.source.pull(maxBytes))
      frames.push(bytes);
    return frames;
  }

  read(maxBytes?: number): Notification[] {
    const all = Buffer.concat(this.frames(maxBytes));
    const messages: Notification[] = [];
    for (let at = 0; at < all.length;) {
      const end = at + FRAME_HEADER_BYTES + all.readUInt32BE(at + 1);
      messages.push(fromBinary(NotificationSchema, all.subarray(at + FRAME_HEADER_BYTES, end)));
      at = end;
    }
    return messages;
  }

  /** What came, in short: titles of notifications, kinds of controls. */
  told(maxBytes?: number): string[] {
    return this.read(maxBytes).map(({ title, control }) => (control === undefined ? title : `[${control.kind.case}]`));
  }
}
