// What the server's parts count, as metrics: each function reports one part.
import type { Instrument, Reporter } from "./instrument.ts";

const counter = (name: string, unit: string, description: string): Instrument => {
  return { name, type: "counter", unit, description };
};
const gauge = (name: string, unit: string, description: string): Instrument => {
  return { name, type: "gauge", unit, description };
};

/** What is held right now. */
export interface HeldCounts {
  readonly connections: number;
  readonly followers: number;
  readonly writingBytes: number;
  readonly downloads: number;
  readonly watches: number;
  readonly subscriptions: number;
  readonly workers: number;
  readonly enqueuingBytes: number;
  readonly devices: number;
  readonly publishingBytes: number;
}

const HELD: Readonly<Record<keyof HeldCounts, Instrument>> = {
  connections: gauge("sluice.connections", "{connection}", "Connections that are open"),
  followers: gauge("sluice.log.followers", "{stream}", "Streams that follow a log"),
  writingBytes: gauge("sluice.log.waiting", "By", "Bytes of requests to write to logs that are not appended yet"),
  downloads: gauge("sluice.file.downloads", "{file}", "Downloads that run"),
  watches: gauge("sluice.file.watches", "{stream}", "Streams that watch a folder"),
  subscriptions: gauge("sluice.metric.subscriptions", "{stream}", "Streams of metrics"),
  workers: gauge("sluice.queue.workers", "{stream}", "Streams of workers"),
  enqueuingBytes: gauge("sluice.queue.waiting", "By", "Bytes of requests to enqueue that are not taken yet"),
  devices: gauge("sluice.notification.devices", "{stream}", "Streams of notifications and of presence"),
  publishingBytes: gauge("sluice.notification.waiting", "By", "Bytes of requests to publish that are not taken yet"),
};

export function heldReporter(counts: () => HeldCounts): Reporter {
  return {
    instruments: Object.values(HELD),
    report(report) {
      const held = counts();
      for (const [name, instrument] of Object.entries(HELD)) report(instrument, held[name as keyof HeldCounts]);
    },
  };
}

const UPLOADS = gauge("sluice.file.uploads", "{file}", "Uploads that are not committed, being written or not");

export function fileReporter(files: { readonly uploads: number }): Reporter {
  return {
    instruments: [UPLOADS],
    report: (report) => report(UPLOADS, files.uploads),
  };
}

const ENTRIES = counter("sluice.log.entries", "{entry}", "Entries that were appended to a log, durably");
const LOG_SIZE = gauge("sluice.log.size", "By", "Bytes of a log on disk");
const DELIVERED = counter("sluice.log.delivered", "{entry}", "Entries that have left in streams");
const GAPS = counter("sluice.log.gaps", "{gap}", "Holes that readers were told of");

export interface LogCounts {
  readonly logs: readonly {
    readonly name: string;
    readonly reader: { readonly head: { readonly sequence: number } };
    status(): { readonly bytes: number };
  }[];
  readonly delivered: { readonly entries: number; readonly gaps: number };
}

export function logReporter({ logs, delivered }: LogCounts): Reporter {
  return {
    instruments: [ENTRIES, LOG_SIZE, DELIVERED, GAPS],
    report(report) {
      for (const log of logs) {
        const labels = { "sluice.log.name": log.name };
        report(ENTRIES, log.reader.head.sequence, labels);
        report(LOG_SIZE, log.status().bytes, labels);
      }
      report(DELIVERED, delivered.entries);
      report(GAPS, delivered.gaps);
    },
  };
}

const JOBS = gauge("sluice.queue.jobs", "{job}", "Jobs of a queue by state");
const QUEUE_SIZE = gauge("sluice.queue.size", "By", "Bytes of a queue's journal on disk");
const JOB_STATES = ["waiting", "offered", "running", "delayed", "dead"] as const;
const JOB_EVENTS = {
  enqueued: counter("sluice.queue.enqueued", "{job}", "Jobs that a queue has taken"),
  done: counter("sluice.queue.done", "{job}", "Jobs that were done"),
  expired: counter("sluice.queue.expired", "{job}", "Jobs whose time was over before they were done"),
  removed: counter("sluice.queue.removed", "{job}", "Jobs that were cancelled or purged"),
  failures: counter("sluice.queue.failures", "{attempt}", "Attempts that failed"),
} as const;

export interface QueueCounts {
  readonly name: string;
  readonly engine: {
    counts(): Readonly<Record<(typeof JOB_STATES)[number] | keyof typeof JOB_EVENTS, number>>;
  };
  readonly journal: { readonly diskBytes: number };
}

export function queueReporter(queues: () => readonly QueueCounts[]): Reporter {
  return {
    instruments: [JOBS, QUEUE_SIZE, ...Object.values(JOB_EVENTS)],
    report(report) {
      for (const { name, engine, journal } of queues()) {
        const labels = { "sluice.queue.name": name };
        const counts = engine.counts();
        for (const state of JOB_STATES) report(JOBS, counts[state], { ...labels, "sluice.queue.state": state });
        for (const [event, instrument] of Object.entries(JOB_EVENTS)) {
          report(instrument, counts[event as keyof typeof JOB_EVENTS], labels);
        }
        report(QUEUE_SIZE, journal.diskBytes, labels);
      }
    },
  };
}
