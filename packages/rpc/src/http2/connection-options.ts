// What a connection is made with.
import type { Http2Limits } from "../limits.ts";
import type { Peer } from "../transport.ts";
import type { ReceiveBudget, SharedBytes } from "./flow.ts";
import type { BlockEncoder } from "./hpack-encoder.ts";
import type { SlabPool } from "./output.ts";

/** What the connections of one server, or of one client, share. */
export interface ConnectionResources {
  readonly slabs: SlabPool;
  readonly receiveBudget: ReceiveBudget;
  /** Received and not consumed. */
  readonly unread: SharedBytes;
  /** Waiting at streams to be sent. */
  readonly queued: SharedBytes;
}

export interface ConnectionOptions {
  readonly limits: Http2Limits;
  readonly resources: ConnectionResources;
  readonly peer: Peer;
}

/** How the roles differ before anything has happened. */
export interface Role {
  /** 1 when the peer is the client, whose stream ids are odd. */
  readonly peerParity: 0 | 1;
  readonly encoder: BlockEncoder;
}
