// One soak test: a server under load, canaries, readers at their own pace, faults, and at the end an account.
//
// T1. When the time is over the faults end first, then the load, then the canaries, which wait for what is on the way.
// T2. Whatever ends with an error is told of; nothing is taken for bad luck.
import { connect, pause, systemClock } from "@sluice/client";
import { type CliProcess, type CliResult, runCli, startCli } from "../support/cli-process.ts";
import { seededRandom } from "../support/crash-random.ts";
import { openFaultProxy } from "../support/fault-proxy.ts";
import { Chaos, type ChaosCounts } from "./chaos.ts";
import { writeLoad } from "./load.ts";
import { Reader, type ReaderContext, type ReaderOptions } from "./readers.ts";
import { openSoakServer, type SoakServer } from "./soak-server.ts";

export interface SoakOptions {
  readonly minutes: number;
  readonly seed: number;
  /** Holds the data folder. */
  readonly folder: string;
  /** Entries a second: of the load, and of each canary. */
  readonly load: number;
  readonly canaries: readonly number[];
  /** Hears of faults and of how it goes. */
  readonly say: (text: string) => void;
}

/** What is used of the last object that a canary prints. */
export interface CanarySummary {
  readonly acknowledged: number;
  readonly seen: number;
  readonly missing: number;
  readonly duplicates: number;
  readonly outOfOrder: number;
  readonly unknown: number;
  readonly onTheWay: number;
  readonly readerDisconnects: number;
  readonly writerDisconnects: number;
  readonly delivery: { readonly p50Ms: number; readonly p99Ms: number; readonly maxMs: number };
}

export interface SoakResult {
  readonly canaries: readonly (CanarySummary | undefined)[];
  readonly readers: readonly Reader[];
  readonly loadEntries: number;
  readonly faults: ChaosCounts;
  /** The most that the server was seen to hold. */
  readonly residentBytesMax: number;
  /** Everything that is wrong, in sentences. */
  readonly wrong: readonly string[];
}

/** Small segments and little retention: many are sealed, compressed and dropped within minutes. */
const SERVER_WORDS = ["--segment-bytes", "4MiB", "--retain-bytes", "256MiB", "--compress-after", "10s"];
/** Longer than any fault lasts, and than it takes a client to notice a connection that fell silent. */
const GRACE = "60s";
const REPORT_MS = 10_000;
const CLIENT_OPTIONS = {
  keepalive: { intervalMs: 2000, timeoutMs: 2000 },
  connectTimeoutMs: 2000,
  closeTimeoutMs: 60_000,
};

export async function soak(options: SoakOptions): Promise<SoakResult> {
  const { folder, say, seed } = options;
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await openSoakServer(folder, SERVER_WORDS));
  const openWay = async () => stack.use(await openFaultProxy({ target: () => server.address }));
  const proxies = await Promise.all([...options.canaries, "load", "readers"].map(openWay));
  const [loadWay, readersWay] = proxies.slice(-2).map(({ address }) => address);
  const canaries = options.canaries.map((rate, i) => stack.use(startCanary(proxies[i]?.address ?? "", rate, folder)));
  const load = stack.use(connect(loadWay ?? "", CLIENT_OPTIONS));
  const readersClient = stack.use(connect(readersWay ?? "", CLIENT_OPTIONS));
  const readers = createReaders({ client: readersClient, clock: systemClock, random: seededRandom(seed + 1) });
  const chaos = new Chaos({ random: seededRandom(seed), server, proxies, say });

  const wrong: string[] = [];
  const guard = async (what: string, work: Promise<void>): Promise<void> =>
    work.catch((error: unknown) => {
      wrong.push(`${what}: ${error instanceof Error ? error.stack : String(error)}`); // T2
    });
  const over = new AbortController();
  const calm = new AbortController();
  const leave = new AbortController();
  const timer = systemClock.setTimer(() => over.abort(), options.minutes * 60_000);
  let loadEntries = 0;
  const writing = async (): Promise<void> => {
    const context = { client: load, clock: systemClock, random: seededRandom(seed + 2), rate: options.load };
    loadEntries = await writeLoad(context, calm.signal);
  };
  const peak = { bytes: 0 };
  const reading = readers.map((reader) => guard(reader.name, reader.run(leave.signal)));
  const working = [
    guard("load", writing()),
    guard("report", reportEvery({ canaries, readers, server, peak, say }, leave.signal)),
  ];
  await guard("faults", chaos.run(over.signal)); // T1
  timer.cancel();
  calm.abort();
  await working[0];
  const results = await Promise.all(canaries.map(endCanary));
  leave.abort();
  await Promise.all([...working, ...reading]);
  await guard("drain", server.end("SIGTERM"));
  const doctor = await runCli(["doctor", "--data", `${folder}/data`], { folder });
  if (doctor.exitCode !== 0) wrong.push(`doctor: exit code ${doctor.exitCode}\n${doctor.stdout}${doctor.stderr}`);
  return {
    canaries: results.map(summaryOf),
    readers,
    loadEntries,
    faults: chaos.counts,
    residentBytesMax: peak.bytes,
    wrong: [
      ...wrong,
      ...server.errors(),
      ...readers.flatMap((reader) => reader.wrong),
      ...results.flatMap(complaintsOf),
    ],
  };
}

function startCanary(address: string, rate: number, folder: string): CliProcess {
  const words = ["--server", address, "--rate", String(rate), "--grace", GRACE, "--every", "5s", "--output", "json"];
  return startCli(["canary", ...words], { folder });
}

function endCanary(canary: CliProcess): Promise<CliResult> {
  canary.kill("SIGTERM");
  return canary.ended();
}

/** What a canary said last. */
function summaryOf({ stdout }: { readonly stdout: string }): CanarySummary | undefined {
  const line = stdout.trimEnd().split("\n").at(-1) ?? "";
  return line === "" ? undefined : (JSON.parse(line) as CanarySummary);
}

function complaintsOf({ exitCode, signal, stdout, stderr }: CliResult, index: number): string[] {
  if (exitCode === 0 && summaryOf({ stdout }) !== undefined) return [];
  return [`canary ${index + 1}: exit code ${exitCode ?? signal ?? "none"}\n${stderr}`];
}

function createReaders(context: ReaderContext): Reader[] {
  const follow = true;
  const readers: readonly ReaderOptions[] = [
    { name: "follower", query: { follow } },
    { name: "filtering follower", query: { follow, logLevel: "WARN", filters: ["shard=3"] } },
    { name: "slow follower", query: { follow }, slow: { everyEntries: 100, restMaxMs: 200 } },
    { name: "very slow follower", query: { follow }, slow: { everyEntries: 1, restMaxMs: 100 } },
    {
      name: "dropping follower",
      query: { follow, slowReader: { kind: "drop-oldest", lagMaxEntries: 1000 } },
      slow: { everyEntries: 500, restMaxMs: 3000 },
    },
    { name: "sampling follower", query: { follow, slowReader: { kind: "sample", perSecond: 50 } } },
    { name: "historian", query: { limit: 100_000 }, slow: { everyEntries: 10_000, restMaxMs: 5000 } },
    { name: "searcher", query: { filters: ["message~7777"] }, slow: { everyEntries: 10, restMaxMs: 500 } },
  ];
  return readers.map((each) => new Reader(each, context));
}

interface Watched {
  readonly canaries: readonly CliProcess[];
  readonly readers: readonly Reader[];
  readonly server: SoakServer;
  readonly peak: { bytes: number };
  readonly say: (text: string) => void;
}

async function reportEvery({ canaries, readers, server, peak, say }: Watched, signal: AbortSignal): Promise<void> {
  for (;;) {
    await pause(systemClock, REPORT_MS, signal);
    if (signal.aborted) return;
    const bytes = (await server.residentBytes()) ?? 0;
    peak.bytes = Math.max(peak.bytes, bytes);
    const summaries = canaries.map((canary) => summaryOf({ stdout: finished(canary.stdout()) }));
    const seen = summaries.map((each) => `${each?.seen ?? 0} of ${each?.acknowledged ?? 0}`).join(", ");
    const bad = summaries.reduce(
      (sum, each) => sum + (each === undefined ? 0 : each.missing + each.duplicates + each.outOfOrder + each.unknown),
      readers.reduce((sum, reader) => sum + reader.wrong.length, 0),
    );
    say(`canaries saw ${seen}; wrong ${bad}; the server holds ${Math.round(bytes / 1024 / 1024)} MiB`);
  }
}

/** Whole lines only. */
function finished(text: string): string {
  return text.slice(0, text.lastIndexOf("\n") + 1);
}
