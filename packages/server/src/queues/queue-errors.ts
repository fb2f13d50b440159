// What can go wrong with queues, beyond what goes wrong everywhere.
import { SluiceError } from "../errors.ts";

/**
 * A worker's stream is ended although it could have gone on. To recover: subscribe again, here or elsewhere, with the session's
 * token, its worker id and the leases that are held: they outlast the stream by the queue's grace time.
 */
export class WorkInterrupted extends SluiceError {
  override readonly name = "WorkInterrupted";
  constructor(why = "the server or its connection is about to close", retryAfterMs = 1_000) {
    const advice = "subscribe again with session_token, worker_id and the leases that are held";
    super("unavailable", `Cannot go on with this worker's stream: ${why}; ${advice}`, {
      reason: "STREAM_INTERRUPTED",
      retryAfterMs,
    });
  }
}

/** A worker came again while its old stream still seemed to live. To recover: nothing; the new stream has the leases. */
export class SessionTakenOver extends SluiceError {
  override readonly name = "SessionTakenOver";
  constructor(workerId: string) {
    const message = `Cannot go on with this stream of worker "${workerId}": it has subscribed again with the same session token`;
    super("aborted", message, { reason: "SESSION_TAKEN_OVER" });
  }
}

/** A worker does not read what it is told. To recover: read; subscribe again. */
export class WorkerTooSlow extends SluiceError {
  override readonly name = "WorkerTooSlow";
  constructor(waitingBytes: number, limit: number) {
    const what = `${waitingBytes} bytes of recalls and answers wait to be read, the limit is ${limit}`;
    super("limit-exceeded", `Cannot go on with this worker's stream: ${what}; read and subscribe again`, {
      reason: "SLOW_WORKER",
      quota: { subject: "bytes that wait for a worker", description: what },
    });
  }
}
