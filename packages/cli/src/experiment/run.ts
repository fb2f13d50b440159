// Plays the scenario in one way: a dispatcher or server, and workers, each a process, on real sockets.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { connect, type SluiceClient } from "@sluice/client";
import { type Child, startChild, startServerChild } from "./child.ts";
import {
  type CountSample,
  type JobEvent,
  nowMs,
  QUEUE,
  type RunRecord,
  type Scenario,
  URGENT_JOB,
  URGENT_PRIORITY,
  type Way,
} from "./scenario.ts";

const SAMPLE_MS = 50;

/** Resolves with what happened when the last job is done. @throws the signal's reason */
export async function playScenario(way: Way, scenario: Scenario, signal: AbortSignal): Promise<RunRecord> {
  await using resources = new AsyncDisposableStack();
  const events: JobEvent[] = [];
  const allDone = Promise.withResolvers<void>();
  let left = scenario.jobs + 1;
  const onEvent = (message: Readonly<Record<string, unknown>>): void => {
    const event = message as unknown as JobEvent;
    events.push(event);
    if (event.event === "done" && --left === 0) allDone.resolve();
  };
  const onAbort = (): void => allDone.reject(signal.reason as Error);
  signal.addEventListener("abort", onAbort, { once: true });
  resources.defer(() => signal.removeEventListener("abort", onAbort));
  allDone.promise.catch(() => undefined); // it is waited for last

  const address = await startDispatcher(way, scenario, { resources, onEvent, signal });
  const workers = await startWorkers(way, scenario, { resources, onEvent, signal, address });
  const client = resources.use(connect(address));
  if (way === "credit") await client.queues.create(QUEUE);

  const body = new Uint8Array(scenario.bodyBytes);
  const startedMs = nowMs();
  const until = (ms: number) => sleep(Math.max(0, startedMs + ms - nowMs()), undefined, { signal });
  const sampling = new AbortController();
  const samples = way === "credit" ? sample(client, sampling.signal) : Promise.resolve([]);
  workers[0]!.go();
  await client.queues.enqueue(
    QUEUE,
    Array.from({ length: scenario.jobs }, () => ({ body })),
    { signal },
  );
  await until(scenario.moreWorkersAtMs);
  const moreWorkersMs = nowMs();
  for (const worker of workers.slice(1)) worker.go();
  await until(scenario.urgentAtMs);
  const urgentMs = nowMs();
  await client.queues.enqueue(QUEUE, { body, jobId: URGENT_JOB, priority: URGENT_PRIORITY }, { signal });
  await allDone.promise;
  sampling.abort();
  await Promise.all(workers.map((worker) => worker.end()));
  const newWorkers = scenario.moreWorkers;
  return { way, startedMs, moreWorkersMs, newWorkers, urgentMs, events, samples: await samples };
}

interface Around {
  readonly resources: AsyncDisposableStack;
  readonly onEvent: (message: Readonly<Record<string, unknown>>) => void;
  readonly signal: AbortSignal;
}

/** Resolves with its address. */
async function startDispatcher(way: Way, scenario: Scenario, { resources, onEvent, signal }: Around): Promise<string> {
  const listening = Promise.withResolvers<string>();
  const onMessage = (message: Readonly<Record<string, unknown>>): void => {
    if (message["event"] === "listening") listening.resolve(String(message["address"]));
    else if (message["event"] === "sent") onEvent(message);
  };
  if (way === "credit") {
    const folder = await mkdtemp(join(tmpdir(), "sluice-experiment-"));
    resources.defer(() => rm(folder, { recursive: true, force: true }));
    resources.use(startServerChild(folder, { onMessage }));
  } else {
    const prefetch = way === "prefetch" ? scenario.prefetch : 0;
    resources.use(startChild("dispatcher", [String(prefetch)], { onMessage }));
  }
  return await unlessAborted(listening.promise, signal);
}

/** Resolves when all are ready to connect. */
async function startWorkers(
  way: Way,
  { moreWorkers, jobMs, window }: Scenario,
  { resources, onEvent, signal, address }: Around & { readonly address: string },
): Promise<Child[]> {
  const started = Array.from({ length: 1 + moreWorkers }, (_, i) => {
    const ready = Promise.withResolvers<void>();
    const words = [way, address, `worker-${i + 1}`, String(jobMs), String(window)];
    const child = startChild("worker", words, {
      onMessage: (message) => (message["event"] === "ready" ? ready.resolve() : onEvent(message)),
    });
    return { child: resources.use(child), ready: ready.promise };
  });
  await unlessAborted(Promise.all(started.map(({ ready }) => ready)), signal);
  return started.map(({ child }) => child);
}

/** How the server counts, again and again, until the signal is aborted. */
async function sample(client: SluiceClient, signal: AbortSignal): Promise<CountSample[]> {
  const samples: CountSample[] = [];
  while (!signal.aborted) {
    const atMs = nowMs();
    const { counts } = await client.queues.get(QUEUE);
    samples.push({ atMs, offered: Number(counts?.offered ?? 0), running: Number(counts?.running ?? 0) });
    await sleep(SAMPLE_MS);
  }
  return samples;
}

async function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => aborted.reject(signal.reason as Error);
  if (signal.aborted) onAbort();
  signal.addEventListener("abort", onAbort, { once: true });
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", onAbort);
  }
}
