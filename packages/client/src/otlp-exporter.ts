// Sends log records to an OpenTelemetry collector, or to whatever else speaks OTLP/gRPC, by the rules of
// https://opentelemetry.io/docs/specs/otlp/#otlpgrpc.
//
// X1. What the collector may yet take is sent again: CANCELLED, DEADLINE_EXCEEDED, ABORTED, OUT_OF_RANGE, UNAVAILABLE,
//     DATA_LOSS, and RESOURCE_EXHAUSTED if it says when. Pauses grow, and are no shorter than it asks for.
// X2. A partial success is an answer: what was rejected is never sent again.
import { fromBinary } from "@bufbuild/protobuf";
import { ExportLogsServiceRequestSchema, OtlpLogsService } from "@sluice/api";
import {
  type ChannelOptions,
  Code,
  createClient,
  Frames,
  frameOf,
  Metadata,
  openChannel,
  retryDelayMs,
  RpcError,
} from "@sluice/rpc";
import { backoffMs, DEFAULT_BACKOFF } from "./backoff.ts";
import { type Clock, type Random, sleep, systemClock, systemRandom } from "./time.ts";

/** How a collector is reached. */
export interface OtlpExporterOptions {
  /** TLS with these options of `tls.connect`. Absent: plaintext. */
  readonly tls?: NonNullable<ChannelOptions["tls"]>;
  /** Sent with each request, by lower-case name: what the collector wants to see. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Compresses requests. Default: not. */
  readonly compress?: "gzip";
  /** Deadline of one attempt, ms. Default: 10 s, as OTLP's exporters have it. */
  readonly timeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

/** What became of one request. */
export interface OtlpExported {
  /** Records that the collector did not take, and will never. */
  readonly rejected: number;
  /** Why, in its words; without rejected records: a warning. */
  readonly message: string;
}

/** Of one request. */
export interface OtlpExportOptions {
  /** Ends the pauses and the attempts: `send` throws its reason. */
  readonly signal?: AbortSignal;
  /** Ends the pauses only: an attempt that is under way may end. */
  readonly stop?: AbortSignal;
  /** Failed attempts after which the last error is thrown. Default: never. */
  readonly attemptsMax?: number;
  /** Hears of an attempt that failed and is followed by another. */
  readonly onRetry?: (failure: {
    readonly error: RpcError;
    readonly retryInMs: number;
    readonly failures: number;
  }) => void;
}

/** See `connectOtlp`. */
export interface OtlpExporter extends AsyncDisposable {
  /**
   * Sends an encoded ExportLogsServiceRequest, again and again until it is answered (X1).
   * @throws RpcError when the collector will never take it, or `attemptsMax` were made; the reason of `signal` or `stop`
   */
  send(request: Uint8Array, options?: OtlpExportOptions): Promise<OtlpExported>;
}

const TIMEOUT_MS = 10_000;
const RETRYABLE: ReadonlySet<Code> = new Set([
  Code.CANCELLED,
  Code.DEADLINE_EXCEEDED,
  Code.ABORTED,
  Code.OUT_OF_RANGE,
  Code.UNAVAILABLE,
  Code.DATA_LOSS,
]);

/**
 * An exporter to a collector. It connects when the first request is sent, and again whenever it must.
 * @param address "host:port", "[::1]:port" or "unix:/path". @throws TypeError when it is none of them
 */
export function connectOtlp(address: string, options: OtlpExporterOptions = {}): OtlpExporter {
  const { tls, headers = {}, compress, timeoutMs = TIMEOUT_MS } = options;
  const clock = options.clock ?? systemClock;
  const random = options.random ?? systemRandom;
  const channel = openChannel(address, tls === undefined ? {} : { tls });
  const { export: call } = createClient(OtlpLogsService, channel);
  const metadata = new Metadata(headers);

  async function attempt(request: Uint8Array, signal: AbortSignal | undefined): Promise<OtlpExported> {
    // Frames go as they are; what is to be compressed must be a message.
    const sent =
      compress === undefined ? new Frames(frameOf(request)) : fromBinary(ExportLogsServiceRequestSchema, request);
    const { partialSuccess } = await call(sent, {
      metadata,
      timeoutMs,
      ...(compress === undefined ? {} : { compress }),
      ...(signal === undefined ? {} : { signal }),
    });
    return { rejected: Number(partialSuccess?.rejectedLogRecords ?? 0n), message: partialSuccess?.errorMessage ?? "" };
  }

  return {
    async send(request, { signal, stop, attemptsMax = Number.POSITIVE_INFINITY, onRetry } = {}) {
      const pausing = AbortSignal.any([signal, stop].filter((each) => each !== undefined));
      for (let failures = 1; ; failures++) {
        pausing.throwIfAborted();
        try {
          return await attempt(request, signal);
        } catch (error) {
          signal?.throwIfAborted();
          if (!(error instanceof RpcError) || !mayRetry(error) || failures >= attemptsMax) throw error;
          const retryInMs = Math.max(retryDelayMs(error) ?? 0, backoffMs(failures, DEFAULT_BACKOFF, random));
          onRetry?.({ error, retryInMs, failures });
          await sleep(clock, retryInMs, pausing);
        }
      }
    },
    async [Symbol.asyncDispose]() {
      await channel.close();
    },
  };
}

/** X1. */
function mayRetry(error: RpcError): boolean {
  return RETRYABLE.has(error.code) || (error.code === Code.RESOURCE_EXHAUSTED && retryDelayMs(error) !== undefined);
}
