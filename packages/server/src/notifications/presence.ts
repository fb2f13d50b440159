// Which devices of a user are connected, and who watches that.
//
// P1. A device is there while one of its streams is. Those that give no device id are one device without a name.
// P2. A watcher is told of a device that left only when it has been away for the watcher's grace: who comes back within it was
//     never away. What waits to be told is the latest of each device.
import { create, toBinary } from "@bufbuild/protobuf";
import { WatchPresenceResponseSchema } from "@sluice/api";
import { type FrameSource, type FrameStream, frameOf, retryDelayMs, type RpcError } from "@sluice/rpc";
import { StreamInterrupted } from "../errors.ts";
import type { Clock, Timer } from "../store/contract.ts";

const NS_PER_MS = 1_000_000n;

/** A device that is connected. */
interface Connected {
  streams: number;
  /** Unix ns. */
  readonly since: bigint;
}

export class Presence {
  readonly #clock: Clock;
  readonly #rememberMs: number;
  /** When the last device of a user left, Unix ms, the longest ago first. */
  readonly #left = new Map<string, number>();
  readonly #users = new Map<string, Map<string, Connected>>();
  readonly #watchers = new Map<string, Set<PresenceWatch>>();

  /** @param rememberMs how long it is known when the last device of a user left */
  constructor(clock: Clock, rememberMs = 0) {
    this.#clock = clock;
    this.#rememberMs = rememberMs;
  }

  /** Unix ms since when no device of the user is connected; undefined: for longer than is remembered. */
  awaySinceMs(userId: string): number | "connected" | undefined {
    return this.#users.has(userId) ? "connected" : this.#left.get(userId);
  }

  /** Unix ns since when a device is connected; 0: it is not. */
  connectedSince(userId: string, deviceId: string): bigint {
    return this.#users.get(userId)?.get(deviceId)?.since ?? 0n;
  }

  /** Names of the devices that are connected. */
  connected(userId: string): readonly string[] {
    return [...(this.#users.get(userId)?.keys() ?? [])];
  }

  enter(userId: string, deviceId: string): void {
    let devices = this.#users.get(userId);
    if (devices === undefined) this.#users.set(userId, (devices = new Map<string, Connected>()));
    this.#left.delete(userId);
    const known = devices.get(deviceId);
    if (known !== undefined) {
      known.streams++;
      return;
    }
    const since = this.#clock.nowNs();
    devices.set(deviceId, { streams: 1, since });
    for (const watch of this.#watchers.get(userId) ?? []) watch.onConnected(deviceId, since);
  }

  leave(userId: string, deviceId: string): void {
    const devices = this.#users.get(userId);
    const known = devices?.get(deviceId);
    if (devices === undefined || known === undefined || --known.streams > 0) return;
    devices.delete(deviceId);
    if (devices.size === 0) this.#forgetUser(userId);
    const since = this.#clock.nowNs();
    for (const watch of this.#watchers.get(userId) ?? []) watch.onGone(deviceId, since);
  }

  #forgetUser(userId: string): void {
    this.#users.delete(userId);
    const nowMs = Number(this.#clock.nowNs() / NS_PER_MS);
    this.#left.set(userId, nowMs);
    for (const [gone, leftMs] of this.#left) {
      if (nowMs - leftMs < this.#rememberMs) return;
      this.#left.delete(gone);
    }
  }

  /** First what is connected, then what changes. @param onClose called once, when the stream has ended */
  watch(userId: string, graceMs: number, onClose: (watch: PresenceWatch) => void): PresenceWatch {
    const watchers = this.#watchers.get(userId) ?? new Set<PresenceWatch>();
    this.#watchers.set(userId, watchers);
    const watch = new PresenceWatch({
      clock: this.#clock,
      graceMs,
      onClose: (ended) => {
        watchers.delete(ended);
        if (watchers.size === 0 && this.#watchers.get(userId) === watchers) this.#watchers.delete(userId);
        onClose(ended);
      },
    });
    watchers.add(watch);
    for (const [deviceId, { since }] of this.#users.get(userId) ?? []) watch.onConnected(deviceId, since);
    return watch;
  }
}

interface PresenceWatchOptions {
  readonly clock: Clock;
  readonly graceMs: number;
  readonly onClose: (watch: PresenceWatch) => void;
}

export class PresenceWatch implements FrameSource {
  readonly #options: PresenceWatchOptions;
  /** Told, or about to be told, that they are connected. */
  readonly #present = new Set<string>();
  /** Away, and not yet for long enough. */
  readonly #leaving = new Map<string, Timer>();
  readonly #untold = new Map<string, Uint8Array>();
  #stream: FrameStream | undefined;
  #isClosed = false;

  constructor(options: PresenceWatchOptions) {
    this.#options = options;
  }

  onConnected(deviceId: string, since: bigint): void {
    this.#leaving.get(deviceId)?.cancel();
    this.#leaving.delete(deviceId);
    if (this.#present.has(deviceId)) return;
    this.#present.add(deviceId);
    this.#tell(deviceId, true, since);
  }

  onGone(deviceId: string, since: bigint): void {
    const { clock, graceMs } = this.#options;
    const tell = (): void => {
      this.#leaving.delete(deviceId);
      this.#present.delete(deviceId);
      this.#tell(deviceId, false, since);
    };
    if (graceMs === 0) tell();
    else this.#leaving.set(deviceId, clock.setTimer(tell, graceMs));
  }

  attach(stream: FrameStream): void {
    this.#stream = stream;
  }

  pull(): Uint8Array | undefined {
    for (const [deviceId, frame] of this.#untold) {
      this.#untold.delete(deviceId);
      return frame;
    }
    return undefined;
  }

  farewell(error?: RpcError): StreamInterrupted {
    const retryAfterMs = error === undefined ? undefined : retryDelayMs(error);
    return new StreamInterrupted({ cursor: undefined, retryAfterMs });
  }

  /** The server stops. */
  interrupt(): void {
    const stream = this.#stream;
    this.close();
    stream?.fail(this.farewell());
  }

  /** Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const timer of this.#leaving.values()) timer.cancel();
    this.#leaving.clear();
    this.#untold.clear();
    this.#stream = undefined;
    this.#options.onClose(this);
  }

  #tell(deviceId: string, connected: boolean, since: bigint): void {
    const message = create(WatchPresenceResponseSchema, { deviceId, connected, since });
    this.#untold.delete(deviceId);
    this.#untold.set(deviceId, frameOf(toBinary(WatchPresenceResponseSchema, message)));
    this.#stream?.wake();
  }
}
