// What a connection is given time for, and how long it lives: handshake, unfinished frames, silence, idleness, age.
//
// HTTP/2 itself knows no clock (`http2/`); this looks at a connection from outside and ends it.
//
// W1. No timer is set for what is not watched, and none is left after `stop`.
// W2. A connection that is drained here ends: by itself, or when its grace is over.
import type { Clock, ClockTimer } from "./clock.ts";
import { ErrorCode } from "./http2/frame.ts";

/** How long connections live. All of it is off by default. */
export interface ConnectionLife {
  /**
   * PING a peer that was silent for `intervalMs`, and close when it still is `timeoutMs` later. A client asks only while it
   * has calls open: servers take other PINGs for abuse.
   */
  readonly keepalive?: { readonly intervalMs: number; readonly timeoutMs: number } | undefined;
  /** A connection without a stream is drained: after so long at the earliest, twice that at the latest. In ms. */
  readonly idleMs?: number | undefined;
  /**
   * A connection is drained when it is `maxMs` old, a tenth more or less, so that the clients of a server come back spread
   * over time and over servers; what is open then may go on for `graceMs`.
   */
  readonly age?: { readonly maxMs: number; readonly graceMs: number } | undefined;
}

export interface WatchOptions extends ConnectionLife {
  readonly limits: {
    readonly handshakeTimeoutMs: number;
    readonly headersTimeoutMs: number;
    readonly lingerMs: number;
  };
  readonly clock: Clock;
  /** Of [0, 1): for the jitter of ages. */
  readonly random: () => number;
  readonly role: "client" | "server";
  /** The grace of an old connection is over: a moment more, and it is closed. */
  readonly onExpired?: (() => void) | undefined;
}

/** The connection as it is watched. */
export interface WatchedConnection {
  readonly isSettled: boolean;
  readonly openStreams: number;
  readonly lastStreamId: number;
  readonly unfinished: object | undefined;
  ping(onAcknowledged: () => void): void;
  drain(): void;
  destroy(code: number, reason: string): void;
}

const AGE_JITTER = 0.1;
/** For `#watchIdle`: a stream was open, whichever it was. */
const BUSY = -1;

export class ConnectionWatch {
  readonly #connection: WatchedConnection;
  readonly #options: WatchOptions;
  /** First for the peer's SETTINGS, then for its silence. */
  #speech: ClockTimer | undefined;
  #frame: ClockTimer | undefined;
  #idle: ClockTimer | undefined;
  #age: ClockTimer | undefined;
  #isSettled = false;
  #isSilent = true;

  constructor(connection: WatchedConnection, options: WatchOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#speech = this.#after(options.limits.handshakeTimeoutMs, () => {
      connection.destroy(ErrorCode.SETTINGS_TIMEOUT, "no SETTINGS arrived in time");
    });
  }

  /** Bytes arrived and were handled. */
  onReceived(): void {
    this.#isSilent = false;
    if (!this.#isSettled && this.#connection.isSettled) this.#begin();
    if (this.#frame === undefined) this.#watchFrame();
  }

  /** The connection is over. */
  stop(): void {
    for (const timer of [this.#speech, this.#frame, this.#idle, this.#age]) timer?.cancel();
  }

  #after(ms: number, callback: () => void): ClockTimer {
    return this.#options.clock.setTimer(callback, ms);
  }

  #begin(): void {
    this.#isSettled = true;
    this.#speech?.cancel();
    const { keepalive, idleMs, age, random } = this.#options;
    if (keepalive !== undefined) this.#watchSilence(keepalive);
    if (idleMs !== undefined) this.#watchIdle(idleMs, this.#connection.lastStreamId);
    if (age === undefined) return;
    const ageMs = age.maxMs * (1 + AGE_JITTER * (2 * random() - 1));
    this.#age = this.#after(ageMs, () => this.#retire(age.graceMs));
  }

  /** One timer at a time, however often frames are cut in two: what it finds unfinished must be what it was set for. */
  #watchFrame(): void {
    const { unfinished } = this.#connection;
    if (unfinished === undefined) return;
    this.#frame = this.#after(this.#options.limits.headersTimeoutMs, () => {
      this.#frame = undefined;
      if (this.#connection.unfinished !== unfinished) return this.#watchFrame();
      this.#connection.destroy(ErrorCode.ENHANCE_YOUR_CALM, "a header block or frame did not arrive in time");
    });
  }

  /** Looks every `intervalMs` whether anything arrived, and asks when nothing did. */
  #watchSilence(keepalive: { readonly intervalMs: number; readonly timeoutMs: number }): void {
    this.#isSilent = true;
    this.#speech = this.#after(keepalive.intervalMs, () => {
      const isAsking = this.#options.role === "server" || this.#connection.openStreams > 0;
      if (!this.#isSilent || !isAsking) return this.#watchSilence(keepalive);
      this.#connection.ping(() => {});
      this.#speech = this.#after(keepalive.timeoutMs, () => {
        if (!this.#isSilent) return this.#watchSilence(keepalive);
        this.#connection.destroy(ErrorCode.NO_ERROR, "the peer did not answer a PING in time");
      });
    });
  }

  /** @param seen the last stream when there was none open at the last look, or BUSY. */
  #watchIdle(idleMs: number, seen: number): void {
    this.#idle = this.#after(idleMs, () => {
      const { openStreams, lastStreamId } = this.#connection;
      if (openStreams > 0 || lastStreamId !== seen) this.#watchIdle(idleMs, openStreams > 0 ? BUSY : lastStreamId);
      else this.#leaveIdle(idleMs);
    });
  }

  /** A stream that was opened before the peer heard of it comes to its end; a peer that does not hear is left (W2). */
  #leaveIdle(idleMs: number): void {
    // First the timer, then the drain: that may be over at once.
    this.#idle = this.#after(this.#options.limits.lingerMs, () => {
      if (this.#connection.openStreams > 0) this.#watchIdle(idleMs, BUSY);
      else this.#connection.destroy(ErrorCode.NO_ERROR, "the connection was idle");
    });
    this.#connection.drain();
  }

  #retire(graceMs: number): void {
    this.#age = this.#after(graceMs, () => {
      this.#options.onExpired?.();
      this.#age = this.#after(this.#options.limits.lingerMs, () => {
        this.#connection.destroy(ErrorCode.NO_ERROR, "the connection is too old");
      });
    });
    this.#connection.drain();
  }
}
