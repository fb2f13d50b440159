// A client that minds its own business while others attack: calls without a pause, and a subscription that stays.
import { performance } from "node:perf_hooks";
import { type ChannelOptions, createClient, openChannel } from "@sluice/rpc";
import { EchoService } from "../rpc/gen/echo_pb.ts";

export interface Experience {
  readonly calls: number;
  /** What went wrong, in words. */
  readonly failures: readonly string[];
  /** Of the calls' latencies, in ms. */
  readonly p50Ms: number;
  readonly p99Ms: number;
  /** The subscription has gone on. */
  readonly isSubscribed: boolean;
}

export interface Bystander extends AsyncDisposable {
  /** Calls that went well so far. */
  readonly calls: number;
  /** What it lived through since the last time it was asked. */
  takeExperience(): Experience;
}

/** So many calls at a time. */
const IN_FLIGHT = 4;

export async function startBystander(port: number, options: ChannelOptions = {}): Promise<Bystander> {
  const channel = openChannel(`127.0.0.1:${port}`, options);
  const client = createClient(EchoService, channel);
  const payload = new Uint8Array(100);
  let latenciesMs: number[] = [];
  let failures: string[] = [];
  let calls = 0;
  let isOver = false;
  let isSubscribed = true;
  const subscription = client.count({});
  const subscribed = subscription.next().then(
    () => (isSubscribed = false),
    (error: unknown) => {
      isSubscribed = false;
      if (!isOver) failures.push(`subscription: ${String(error)}`);
    },
  );
  const goOn = async (): Promise<void> => {
    while (!isOver) {
      const startMs = performance.now();
      try {
        await client.echo({ payload }, { timeoutMs: 20_000 });
        latenciesMs.push(performance.now() - startMs);
        calls++;
      } catch (error) {
        if (!isOver) failures.push(String(error));
      }
    }
  };
  await client.echo({ payload });
  const workers = Array.from({ length: IN_FLIGHT }, goOn);
  return {
    get calls() {
      return calls;
    },
    takeExperience() {
      const sorted = latenciesMs.toSorted((a, b) => a - b);
      const at = (share: number): number => sorted[Math.floor(share * sorted.length)] ?? Number.NaN;
      const experience = { calls: sorted.length, failures, p50Ms: at(0.5), p99Ms: at(0.99), isSubscribed };
      latenciesMs = [];
      failures = [];
      return experience;
    },
    async [Symbol.asyncDispose]() {
      isOver = true;
      await channel.close();
      await Promise.all([...workers, subscribed]);
    },
  };
}
