// The calls whose answers are fuzzed: always the same ones in the same order, so that an answer recorded once fits again.
import { createClient, Metadata, type Channel } from "@sluice/rpc";
import { EchoService } from "../rpc/gen/echo_pb.ts";

/** How a call ended, as one comparable text. */
export type Result = string;

const LARGE = new Uint8Array(2000).fill(97);

/**
 * Makes eight calls, all of them before the first answer can come: streams 1, 3, …, 15. Who compresses gets gzip.
 * @returns what each one brought, once all are over; none of them rejects
 */
export function makeCalls(channel: Channel, options: { readonly compress?: "gzip" } = {}): Promise<Result[]> {
  const client = createClient(EchoService, channel);
  const metadata = new Metadata({ "x-ascii": "value", "x-bytes-bin": Uint8Array.of(0, 1, 254, 255) });
  const seen: string[] = [];
  const listen = {
    onHeaders: (headers: Metadata) => seen.push(readAll(headers)),
    onTrailers: (trailers: Metadata) => seen.push(readAll(trailers)),
  };
  return Promise.all([
    settle(client.echo({ text: "plain" })),
    settle(client.echo({ text: "with metadata" }, { metadata, timeoutMs: 60_000, ...listen })),
    settle(client.echo({ payload: LARGE }, options)),
    settle(Array.fromAsync(client.count({ count: 3, payloadBytes: 10 }))),
    settle(Array.fromAsync(client.count({ count: 2, payloadBytes: 1 }, { raw: true, timeoutMs: 60_000 }))),
    settle(client.sum(listOf([{ value: 1n }, { value: 2n }, { value: -5n, payload: LARGE }]))),
    settle(Array.fromAsync(client.chat(listOf([{ text: "one" }, { text: "zwei ✓" }])))),
    settle(client.missing({ text: "nobody serves this" })),
  ]).then((results) => [...results, ...seen]);
}

/** Reads what any program may read of metadata. */
function readAll(metadata: Metadata): string {
  return [...metadata]
    .map(([name, value]) => {
      const binary = name.endsWith("-bin") ? metadata.getAllBinary(name).map(toHex).join() : "";
      return `${name}=${value} ${binary}`;
    })
    .join("; ");
}

function toHex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("hex");
}

async function* listOf<T>(values: readonly T[]): AsyncGenerator<T> {
  yield* values;
}

async function settle(pending: Promise<unknown>): Promise<Result> {
  try {
    return textOf(await pending);
  } catch (error) {
    return textOf(error);
  }
}

function textOf(value: unknown): string {
  if (value instanceof Error) {
    const { name, message } = value;
    const { code, details } = value as { code?: unknown; details?: readonly unknown[] };
    return `${name} ${String(code)}: ${message} [${details?.length ?? "no details"}]`;
  }
  return JSON.stringify(value, (_key, each: unknown) =>
    typeof each === "bigint" ? String(each) : each instanceof Uint8Array ? toHex(each) : each,
  );
}
