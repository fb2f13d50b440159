// A device that comes back to a long backlog; and many devices that only wait.

import { openAudience, subscribe } from "./audience.ts";
import { carryOut, type Pause } from "./client-process.ts";
import { MessageCounters } from "./grpc-messages.ts";
import { HeaderEncoder } from "./hpack.ts";
import { WireConnection, type WireHandler } from "./http2-wire.ts";

export type ResumeTask =
  /** Reads so many notifications of a user. */
  | { readonly what: "backlog"; readonly address: string; readonly userId: string; readonly notifications: number }
  /** Opens so many devices, 100 on a connection, and pauses. */
  | { readonly what: "devices"; readonly address: string; readonly devices: number };

export interface ResumeOutcome {
  /** From the subscription to the last notification; of devices, until all are there. */
  readonly seconds: number;
}

const DEVICES_PER_CONNECTION = 100;

async function run(task: ResumeTask, pause: Pause): Promise<ResumeOutcome> {
  const startMs = performance.now();
  if (task.what === "backlog") await readBacklog(task);
  else await openDevices(task, pause);
  return { seconds: (performance.now() - startMs) / 1000 };
}

async function readBacklog(task: Extract<ResumeTask, { what: "backlog" }>): Promise<void> {
  const { address, userId, notifications } = task;
  const counters = new MessageCounters(1);
  const done = Promise.withResolvers<void>();
  const handler: WireHandler = {
    onData(_streamId, buffer, start, end) {
      counters.take(0, buffer, start, end);
      if (counters.messages[0]! >= notifications) done.resolve();
    },
    onHeaders() {},
    onEnd: () => done.reject(new Error(`The stream ended after ${counters.messages[0]} notifications`)),
    onReadEnd() {},
  };
  const connection = await WireConnection.open(address, handler);
  subscribe(connection, new HeaderEncoder(), { address, streamId: 1, userId, onlyNew: false });
  await Promise.race([done.promise, connection.failure]);
  connection.close();
}

async function openDevices(task: Extract<ResumeTask, { what: "devices" }>, pause: Pause): Promise<void> {
  const { address, devices } = task;
  const audience = {
    address,
    protocol: "sluice",
    connections: devices / DEVICES_PER_CONNECTION,
    payloadBytes: 0,
  } as const;
  const lines = await openAudience({ ...audience, devicesPerConnection: DEVICES_PER_CONNECTION }, () => {});
  await pause("open");
  for (const line of lines) line.close();
}

await carryOut(run);
