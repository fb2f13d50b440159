// What a log of the store found and did, as lines of the server's own log: nothing is cut or given up in silence.
//
// R1. No line here causes itself: the server's own log is appended to the same store, and on a full disk every append
//     fails. So a full disk is told once in `REPEAT_MS`.
import type { Clock } from "../store/contract.ts";
import type { LogEvent } from "../store/events.ts";
import type { Log } from "../store/log.ts";
import type { Logger } from "./logger.ts";

const REPEAT_MS = 60_000;

export interface LogReporter {
  /** Says how the log was found when it was opened. */
  opened(log: Log): void;
  /** Says what happens in the background. */
  onEvent(event: LogEvent): void;
}

/** @param options.log the log's name */
export function createLogReporter(logger: Logger, options: { log: string; clock: Clock }): LogReporter {
  const { log, clock } = options;
  let fullToldMs = Number.NEGATIVE_INFINITY;

  return {
    opened: (opened) => tellOpened(opened, logger, log),
    onEvent(event) {
      const { kind, ...rest } = event;
      const facts = { event: kind, log, ...rest };
      switch (kind) {
        case "segment-sealed":
          return logger.debug(facts, "sealed a segment");
        case "segment-compressed":
          return logger.debug(facts, "compressed a segment");
        case "segment-removed":
          return logger.info(facts, "removed a segment: its time or its place is over");
        case "damage-found":
          return logger.error(facts, "stored entries do not match their checksum; readers are told of a gap");
        case "index-rebuilt":
          return logger.warn(facts, "rebuilt an index from its frames");
        case "read-only":
          return logger.error(facts, "the log takes no entries until its last segment was verified");
        case "writable":
          return logger.info(facts, "the log takes entries again: its last segment was verified and is on disk");
        case "fault":
          return logger.warn(facts, "work in the background failed; it is tried again");
        case "disk-full": {
          const nowMs = clock.monotonicMs();
          if (nowMs - fullToldMs < REPEAT_MS) return; // R1
          fullToldMs = nowMs;
          return logger.error(facts, "the disk is full: entries are refused until there is room");
        }
        default:
          return kind satisfies never;
      }
    },
  };
}

function tellOpened({ report, reader }: Log, logger: Logger, log: string): void {
  const facts = { log, first: reader.first, last: reader.head.sequence, epoch: reader.head.epoch };
  logger.info(
    { event: "log-opened", ...facts, segments: report.segments },
    report.isNew ? "made a new log" : "opened the log",
  );
  if (report.cut !== undefined) {
    logger.warn({ event: "log-cut", log, ...report.cut }, "cut a torn end that nobody was told to be durable");
  }
  if (report.lost !== undefined) {
    logger.error({ event: "log-lost", log, ...report.lost }, "durable entries are gone from the end of the log");
  }
  if (report.damagedEntries > 0) {
    const { damagedEntries } = report;
    logger.error({ event: "log-damaged", log, damagedEntries }, "entries do not match their checksum");
  }
  if (report.rebuiltIndexes.length > 0) {
    logger.warn({ event: "index-rebuilt", log, segments: report.rebuiltIndexes }, "rebuilt indexes from their frames");
  }
}
