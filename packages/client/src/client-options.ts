// How a client reaches its server.
import type { ChannelOptions } from "@sluice/rpc";
import { DEFAULT_BACKOFF } from "./backoff.ts";
import type { Clock, Random } from "./time.ts";

/** How the server is reached. */
export interface ClientOptions {
  /** TLS with these options of `tls.connect`. Absent: plaintext. */
  readonly tls?: NonNullable<ChannelOptions["tls"]>;
  /** What the server is called in `:authority`. Default: the address. */
  readonly authority?: string;
  /** From the first try to connect to the server's first word, ms. Default: 10 s. */
  readonly connectTimeoutMs?: number;
  /**
   * A connection on which nothing came for `intervalMs` is asked for a sign of life, and given up when none comes within
   * `timeoutMs`: what a network swallowed looks open for ever otherwise. Default: 15 s and 10 s.
   */
  readonly keepalive?: { readonly intervalMs: number; readonly timeoutMs: number };
  /** How long closing the client waits for what its writers have not seen acknowledged, ms. Default: 10 s. */
  readonly closeTimeoutMs?: number;
  readonly clock?: Clock;
  readonly random?: Random;
}

const CONNECT_TIMEOUT_MS = 10_000;
const KEEPALIVE = { intervalMs: 15_000, timeoutMs: 10_000 };
/** Streams and writers have a growing pause of their own; the channel's must not add much to it. */
const CHANNEL_BACKOFF = { initialMs: DEFAULT_BACKOFF.initialMs / 4, maxMs: 1000 };

/** How a channel is opened with these options. */
export function channelOptionsOf(options: ClientOptions): ChannelOptions {
  const { tls, authority, connectTimeoutMs = CONNECT_TIMEOUT_MS, keepalive = KEEPALIVE } = options;
  return {
    backoff: CHANNEL_BACKOFF,
    connectTimeoutMs,
    http2: { keepalive, limits: { handshakeTimeoutMs: connectTimeoutMs } },
    ...(tls === undefined ? {} : { tls }),
    ...(authority === undefined ? {} : { authority }),
  };
}
