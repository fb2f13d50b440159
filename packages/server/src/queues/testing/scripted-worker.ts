// What a worker of a test says and is told, however it is connected.
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Delivery, Lease, LeaseResult, WorkRequestSchema, WorkResponse } from "@sluice/api";

export type WorkKind = NonNullable<MessageInitShape<typeof WorkRequestSchema>["kind"]>;
export type SubscribeInit = Extract<WorkKind, { case: "subscribe" }>["value"];
type Said<C extends WorkResponse["kind"]["case"]> = Extract<WorkResponse["kind"], { case: C }>["value"];

export abstract class ScriptedWorker {
  /** Everything that it was told. */
  readonly told: WorkResponse["kind"][] = [];
  /** How the stream ended; undefined: it has not. */
  ended: { readonly error: unknown } | undefined = undefined;
  #nextRequest = 1n;
  readonly #wakers: (() => void)[] = [];

  abstract say(kind: WorkKind): void;

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

  /** Resolves when it was told more than so many messages. */
  toldMore(count: number): Promise<void> {
    return this.until(() => this.told.length > count);
  }

  /** Resolves when the condition holds. Rejects when the stream ends before. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      if (this.ended !== undefined) throw new Error("The stream has ended", { cause: this.ended.error });
      await this.#change();
    }
  }

  /** Resolves with the error of the stream's end; undefined: it ended well. */
  async ending(): Promise<unknown> {
    while (this.ended === undefined) await this.#change();
    return this.ended.error;
  }

  /** Something was told, or the stream has ended. */
  protected changed(): void {
    for (const waker of this.#wakers.splice(0)) waker();
  }

  #change(): Promise<void> {
    return new Promise<void>((resolve) => this.#wakers.push(resolve));
  }
}
