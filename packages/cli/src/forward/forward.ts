// Carries batches of a log to a collector, one after the other.
//
// F2. A batch is sent when the one before it was answered, and its cursor kept before the next: nothing is left out, and
//     what a crash repeats is one batch.
// F3. Stopping ends the pauses and takes no further batch; the one that is under way has PATIENCE_MS to be answered.
// F4. What a collector will never take ends the forwarding, unless it is to be skipped: then it is counted. Whom it does not
//     know, or does not serve, is never skipped.
import {
  Code,
  type Gap,
  type LogStream,
  type OtlpBatch,
  type OtlpExporter,
  type OtlpExportOptions,
  RpcError,
} from "@sluice/client";

const PATIENCE_MS = 10_000;

/** What was done so far. */
export interface ForwardCounts {
  /** Records that the collector has. */
  records: number;
  batches: number;
  bytes: number;
  /** Records that it rejected, or that were skipped. */
  refused: number;
  /** Entries that the log did not have any more. */
  missing: number;
}

export function noForwards(): ForwardCounts {
  return { records: 0, batches: 0, bytes: 0, refused: 0, missing: 0 };
}

/** The collector will not take a batch. */
export class CollectorFailed extends Error {
  override readonly name = "CollectorFailed";
  override readonly cause: RpcError;
  constructor(cause: RpcError) {
    super(cause.message);
    this.cause = cause;
  }
}

export interface ForwardContext {
  readonly stream: LogStream<OtlpBatch>;
  readonly exporter: OtlpExporter;
  readonly keep: (cursor: string) => Promise<void>;
  readonly stop: AbortSignal;
  readonly counts: ForwardCounts;
  readonly attemptsMax: number;
  readonly skipRefused: boolean;
  readonly onProgress: () => void;
  readonly onRetry: NonNullable<OtlpExportOptions["onRetry"]>;
  readonly onRefused: (count: number, why: string) => void;
  readonly onGap: (gap: Gap) => void;
  readonly onDisconnected: (error: unknown, retryInMs: number) => void;
}

/** Forwards until the stream ends or is stopped. @throws RpcError of the server or of the collector */
export async function forward(context: ForwardContext): Promise<void> {
  const { stream, counts, stop } = context;
  let isConnected = false;
  try {
    for await (const event of stream.events()) {
      if (event.kind === "disconnected") {
        // A server that is not there at all is an error; one that goes away is waited for.
        if (!isConnected) throw event.error;
        context.onDisconnected(event.error, event.retryInMs);
        continue;
      }
      isConnected = true;
      if (event.kind === "entry") {
        await sendBatch(event.entry, context);
      } else if (event.kind === "gap") {
        counts.missing += Number(event.gap.count);
        context.onGap(event.gap);
        await context.keep(event.gap.toCursor);
      }
      if (stop.aborted) return;
    }
  } catch (error) {
    // What stopped it is no failure.
    if (!stop.aborted || error instanceof CollectorFailed) throw error;
  }
}

/** The same may be taken later, or by a collector that is set up in another way: nothing is wrong with the records. */
function isPassing({ code }: RpcError): boolean {
  return PASSING.has(code);
}

const PASSING: ReadonlySet<Code> = new Set([
  Code.UNAVAILABLE,
  Code.DEADLINE_EXCEEDED,
  Code.UNAUTHENTICATED,
  Code.PERMISSION_DENIED,
  Code.UNIMPLEMENTED,
]);

async function sendBatch(batch: OtlpBatch, context: ForwardContext): Promise<void> {
  const { exporter, counts, stop, attemptsMax, onRetry } = context;
  const patience = patienceAfter(stop);
  try {
    const { signal } = patience;
    const { rejected, message } = await exporter.send(batch.request, { signal, stop, attemptsMax, onRetry });
    counts.records += batch.records - rejected;
    counts.refused += rejected;
    if (rejected > 0 || message !== "") context.onRefused(rejected, message);
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    if (!context.skipRefused || isPassing(error)) throw new CollectorFailed(error);
    counts.refused += batch.records;
    context.onRefused(batch.records, error.message);
  } finally {
    patience.end();
  }
  counts.batches++;
  counts.bytes += batch.request.length;
  context.onProgress();
  await context.keep(batch.cursor);
}

/** Aborts PATIENCE_MS after the signal. */
function patienceAfter(stop: AbortSignal): { readonly signal: AbortSignal; end(): void } {
  const controller = new AbortController();
  let timer: NodeJS.Timeout | undefined;
  const begin = (): void => {
    timer = setTimeout(() => {
      const text = `The collector did not answer within ${PATIENCE_MS / 1000} s after the stop`;
      controller.abort(new Error(text));
    }, PATIENCE_MS);
  };
  if (stop.aborted) begin();
  else stop.addEventListener("abort", begin, { once: true });
  return {
    signal: controller.signal,
    end() {
      stop.removeEventListener("abort", begin);
      clearTimeout(timer);
    },
  };
}
