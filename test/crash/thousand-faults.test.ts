// A thousand connections that break, each at a byte drawn from the seed: the SDK's reader gets every entry once, and what
// its writer writes is in the log once.
//
// More: SLUICE_CRASH_ROUNDS=10 npm run crash -- thousand-faults. Another seed: SLUICE_CRASH_SEED=7.
import { connect, type LogStream } from "@sluice/client";
import { afterAll, beforeAll, expect, test } from "vitest";
import { between, seededRandom } from "../support/crash-random.ts";
import { type Fault, type FaultKind, type FaultProxy, type Line, openFaultProxy } from "../support/fault-proxy.ts";
import { type ServerProcess, startServer } from "../support/server-process.ts";
import { openTemporaryFolder, type TemporaryFolder } from "../support/temporary-folder.ts";

const FAULTS = 1000 * Number(process.env["SLUICE_CRASH_ROUNDS"] ?? 1);
const SEED = Number(process.env["SLUICE_CRASH_SEED"] ?? 1);
/** Silence costs its detection, a tenth of a second: one in ten. */
const KINDS: readonly FaultKind[] = [
  "reset",
  "close",
  "half-close",
  "reset",
  "close",
  "half-close",
  "reset",
  "close",
  "half-close",
  "stall",
];
/** No pause worth waiting for. */
const retry = { initialMs: 1, maxMs: 5 };
/** What fell silent is noticed soon. */
const IMPATIENT = { connectTimeoutMs: 1000, keepalive: { intervalMs: 50, timeoutMs: 100 } };
const ANSWER_TIMEOUT_MS = 250;
const END = "the last one";

let folder: TemporaryFolder;
let server: ServerProcess;

beforeAll(async () => {
  folder = await openTemporaryFolder("thousand-faults");
  server = await startServer([], { folder: folder.path });
});

afterAll(async () => {
  await server[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** How far the bytes of a direction may come. The preface, the settings and a request of a client are some 300. */
interface Reach {
  readonly toServer: number;
  readonly toClient: number;
}

/** Breaks connections until there were enough; one in four is slow, one in four far away. */
async function openHostileNetwork(seed: number, reach: Reach): Promise<FaultProxy> {
  const random = seededRandom(seed);
  const faultOf = (): Fault | undefined => {
    const [kind, direction] = [KINDS[between(random, 0, KINDS.length - 1)] ?? "reset", random() < 0.3];
    const afterBytes = between(random, 0, direction ? reach.toServer : reach.toClient);
    if (proxy.faults >= FAULTS) return undefined;
    return { kind, afterBytes, direction: direction ? "to-server" : "to-client" };
  };
  const lineOf = (): Line => ({
    ...(random() < 0.25 ? { delayMs: between(random, 1, 3) } : {}),
    ...(random() < 0.25 ? { bytesPerSecond: between(random, 500_000, 4_000_000) } : {}),
  });
  const proxy: FaultProxy = await openFaultProxy({ target: () => server.address, faultOf, lineOf });
  return proxy;
}

/** Numbers of entries as they come, up to the last one; the first that is not the next is told of. */
async function expectAll(stream: LogStream, onEntry: (count: number) => void = () => {}): Promise<number> {
  let count = 0;
  for await (const { message } of stream) {
    if (message === END) return count;
    if (message !== `entry ${count}`) throw new Error(`"${message}" came where "entry ${count}" was expected`);
    onEntry(++count);
  }
  throw new Error(`The stream ended after ${count} entries`);
}

test(`the reader gets every entry once through ${FAULTS} faults, seed ${SEED}`, async () => {
  const application = `read ${SEED}`;
  await using proxy = await openHostileNetwork(SEED, { toServer: 200, toClient: 6000 });
  await using near = connect(server.address);
  await using far = connect(proxy.address, IMPATIENT);
  // The writer keeps some hundred entries ahead, so that history and what comes are both broken off.
  let wake = (): void => {};
  const untilMoreIsSeen = (): Promise<void> => new Promise((resolve) => (wake = resolve));
  let seen = 0;
  const reading = expectAll(
    far.streamLogs({ applications: [application], follow: true }, { retry, heartbeatMs: 200 }),
    (count) => {
      seen = count;
      wake();
    },
  );
  let written = 0;
  const writing = (async () => {
    await using writer = near.openLogWriter({ delayMs: 0 });
    while (proxy.faults < FAULTS) {
      for (let i = 0; i < 100; i++) await writer.write({ application, message: `entry ${written++}` });
      await writer.flush();
      while (written - seen > 500) await untilMoreIsSeen();
    }
    await writer.write({ application, message: END });
  })();
  await Promise.all([Promise.race([writing, reading]), reading]);
  await writing;
  expect(seen).toBe(written);
  expect(proxy.faults).toBeGreaterThanOrEqual(FAULTS);
});

test(`what the writer writes through ${FAULTS} faults is in the log once, seed ${SEED}`, async () => {
  const application = `written ${SEED}`;
  await using proxy = await openHostileNetwork(SEED + 1, { toServer: 6000, toClient: 90 });
  let written = 0;
  let acknowledged = 0;
  {
    await using far = connect(proxy.address, { ...IMPATIENT, closeTimeoutMs: 60_000 });
    await using writer = far.openLogWriter({
      retry,
      delayMs: 0,
      batchEntriesMax: 23,
      bufferBytesMax: 20_000,
      answerTimeoutMs: ANSWER_TIMEOUT_MS,
      onAcknowledged: (through) => {
        acknowledged = through;
      },
    });
    while (proxy.faults < FAULTS) await writer.write({ application, message: `entry ${written++}` });
    await writer.write({ application, message: END });
  }
  expect(acknowledged).toBe(written + 1);
  await using near = connect(server.address);
  expect(await expectAll(near.streamLogs({ applications: [application] }))).toBe(written);
  expect(proxy.faults).toBeGreaterThanOrEqual(FAULTS);
});
