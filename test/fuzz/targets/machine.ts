// A connection machine under fuzz: limits that a salt chooses, and what must be left when it is over.
import { http2Limits, type Http2Limits } from "../../../packages/rpc/src/limits.ts";
import type { Connection } from "../../../packages/rpc/src/http2/connection.ts";
import type { ConnectionOptions, ConnectionResources } from "../../../packages/rpc/src/http2/connection-options.ts";
import { type Holder, ReceiveBudget, SharedBytes } from "../../../packages/rpc/src/http2/flow.ts";
import { SlabPool } from "../../../packages/rpc/src/http2/output.ts";
import type { MemoryCarrier } from "../../../packages/rpc/src/http2/testing/machines.ts";
import type { Random } from "../random.ts";

const DEFAULT_LIMITS = http2Limits();

/** Limits near to what recordings need, so that inputs come to both sides of each. */
const TIGHT_LIMITS: readonly Http2Limits[] = [
  http2Limits({ headerListBytesMax: 400, headerBlockBytesMax: 300, continuationFramesMax: 3 }),
  http2Limits({ concurrentStreamsMax: 2, resetBurst: 3, resetsPerSecond: 0, controlBytesMax: 60 }),
  http2Limits({ writeMarkBytes: 64, sliceBytes: 32, flushBytes: 128, turnBytes: 256 }),
  http2Limits({ streamsPerConnectionMax: 3, connectionWindowBytes: 65_535, streamWindowBytes: 65_535 }),
];

/** Half of the time the limits of every server. */
export function chooseLimits(random: Random): Http2Limits {
  return random.oneIn(2) ? DEFAULT_LIMITS : random.pick(TIGHT_LIMITS);
}

const slabs = new SlabPool();

/** Knows whether all that joined have left. */
class WatchedBytes extends SharedBytes {
  holders = 0;

  override join(holder: Holder): void {
    super.join(holder);
    this.holders += 1;
  }

  override leave(holder: Holder): void {
    super.leave(holder);
    this.holders -= 1;
  }
}

export interface MachineParts {
  readonly resources: ConnectionResources & { readonly unread: WatchedBytes; readonly queued: WatchedBytes };
  readonly options: ConnectionOptions;
}

/** @param sharedBytesMax what connections may hold unread, and unsent, before one has to give way. */
export function machineParts(limits: Http2Limits, sharedBytesMax = Infinity): MachineParts {
  const resources = {
    slabs,
    receiveBudget: new ReceiveBudget(1024 * 1024),
    unread: new WatchedBytes(sharedBytesMax),
    queued: new WatchedBytes(sharedBytesMax),
  };
  return { resources, options: { limits, resources, peer: { address: "memory", isEncrypted: false } } };
}

/** One flush each time that the machine asks for one: more of them than this is a loop. */
const FLUSHES_MAX = 100_000;

/** Sends all that can be sent. */
export function flushAll(connection: Connection, carrier: MemoryCarrier): void {
  for (let flushes = 0; ; flushes++) {
    carrier.isFlushRequested = false;
    connection.flush();
    if (!carrier.isFlushRequested) return;
    if (flushes > FLUSHES_MAX) throw new Error("It asks for flushes without end");
  }
}

/** Ends the connection and looks at what is left of it; handlers `mayRun` a little longer. */
export function endConnection(connection: Connection, { resources }: MachineParts, options = { mayRun: false }): void {
  connection.disconnected("the input is over");
  const { unread, queued, receiveBudget } = resources;
  const left = {
    streams: connection.openStreams,
    unreadBytes: unread.bytes,
    unreadHolders: unread.holders,
    queuedBytes: queued.bytes,
    queuedHolders: queued.holders,
    windowBytes: receiveBudget.usedBytes,
    busyHandlers: options.mayRun ? 0 : connection.busyHandlers,
  };
  if (Object.values(left).some((count) => count !== 0)) throw new Error(`Left behind: ${JSON.stringify(left)}`);
}

/** The most that may be sent, beside granted DATA, for so many bytes of input: an answer to the smallest request, for each. */
export function sentBytesMax(inputBytes: number): number {
  return 4096 + 64 * inputBytes;
}
