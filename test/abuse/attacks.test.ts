// Every attack against a server in a process of its own: what it holds at most, and that other clients go on.
//
// The table of what was measured is printed at the end; `SLUICE_ABUSE_RESULTS=bench/results/abuse.json npm run abuse`
// keeps it besides. Latency is told, never judged: the machine decides it.
import { writeFileSync } from "node:fs";
import { cpus } from "node:os";
import { afterAll, expect, test } from "vitest";
import { startAttack } from "./attacker.ts";
import { attacks } from "./attacks.ts";
import { startBystander } from "./bystander.ts";
import { type ServerSettings, startAttackedServer } from "./server.ts";

const MIB = 1024 * 1024;

interface Case {
  readonly attack: string;
  readonly what: string;
  /** Of the process above what it had before, garbage included: most of it depends on when that is collected. */
  readonly residentMibMax: number;
  /** What is really held while the attacker stays. Default: nothing to speak of. */
  readonly heldMibMax?: number;
  /** What becomes of the attacker. */
  readonly fate: RegExp;
  /** Limits other than the defaults, for the sake of time or of the machine. */
  readonly settings?: ServerSettings;
}

/** What all clients together may make the server hold, where the default is half a GiB. */
const SHARED_MIB = 64;
const shared = SHARED_MIB * MIB;
const SOON_MS = 1000;
/** Statistics, caches, and what a garbage collection leaves for the next one. */
const NOTHING_MIB = 16;
/** How long a machine may take that does other things besides. */
const PATIENT = { timeout: 20_000 };

const cases: readonly Case[] = [
  {
    attack: "rapidReset",
    what: "400,000 streams, each reset at once",
    residentMibMax: 200,
    fate: /^4 × GOAWAY ENHANCE_YOUR_CALM$/,
  },
  {
    attack: "continuationFlood",
    what: "30 header blocks without an end",
    residentMibMax: 100,
    fate: /^30 × GOAWAY ENHANCE_YOUR_CALM$/,
  },
  {
    attack: "settingsFlood",
    what: "100,000 changes of 1,000 windows",
    residentMibMax: 100,
    fate: /^GOAWAY ENHANCE_YOUR_CALM$/,
  },
  {
    attack: "pingFlood",
    what: "2,000,000 PINGs from each of 9 that read no answer, and of one that does",
    residentMibMax: 150,
    // What was never read may keep the GOAWAY from being seen.
    fate: /1 × served on/,
  },
  {
    attack: "hpackBomb",
    what: "500 requests of 64 MiB in 16 KiB",
    residentMibMax: 100,
    fate: /^served on$/,
  },
  {
    attack: "largeMetadata",
    what: "10,000 requests with 100 KiB of metadata",
    residentMibMax: 250,
    fate: /^10 × served on$/,
  },
  {
    attack: "windowOverflow",
    what: "10,000 windows beyond 2³¹-1",
    residentMibMax: 100,
    fate: /50 × GOAWAY FLOW_CONTROL_ERROR/,
  },
  {
    attack: "tooManyStreams",
    what: "10,000 streams where 1,000 are allowed",
    residentMibMax: 100,
    fate: /^9000 refused, served on$/,
  },
  {
    attack: "droppedStreams",
    what: "100,000 streams opened, and dropped with their connections",
    residentMibMax: 300,
    fate: /^100000 streams opened$/,
  },
  {
    attack: "connectAndGo",
    what: "5,000 connections made and dropped",
    residentMibMax: 150,
    fate: /^5000 /,
  },
  {
    attack: "silence",
    what: "2,000 connections without a word, or half of one",
    residentMibMax: 150,
    fate: /^(\d+ × (closed|GOAWAY SETTINGS_TIMEOUT)(, )?)+$/,
    settings: { http2: { handshakeTimeoutMs: SOON_MS, headersTimeoutMs: SOON_MS } },
  },
  {
    attack: "slowHeaders",
    what: "1,000 header blocks of 100 KiB that wait for their end",
    residentMibMax: 300,
    fate: /^1000 × GOAWAY ENHANCE_YOUR_CALM$/,
    settings: { http2: { headersTimeoutMs: SOON_MS } },
  },
  {
    attack: "slowBodies",
    what: `200 uploads of 4 MiB that wait for their last byte (all may hold ${SHARED_MIB} MiB)`,
    residentMibMax: 4 * SHARED_MIB,
    heldMibMax: 2 * SHARED_MIB,
    fate: /^10 × served on$/,
    settings: { grpc: { heldBytesMax: shared } },
  },
  {
    attack: "slowTls",
    what: "500 TLS handshakes that do not go on",
    residentMibMax: 100,
    fate: /^500 × closed$/,
    settings: { tls: true, http2: { handshakeTimeoutMs: SOON_MS } },
  },
  {
    attack: "zeroWindow",
    what: `10,000 answers of 60 KiB for windows of 0 (all may wait with ${SHARED_MIB} MiB)`,
    residentMibMax: 8 * SHARED_MIB,
    heldMibMax: 1.5 * SHARED_MIB,
    fate: /^10 × served on$/,
    settings: { http2: { queuedBytesMax: shared } },
  },
  {
    attack: "neverReading",
    what: `10,000 endless streams that nobody reads (all may wait with ${SHARED_MIB} MiB)`,
    residentMibMax: 8 * SHARED_MIB,
    // Messages of 16 KiB lie four to a slab of Node's, which one of them keeps.
    heldMibMax: 4 * SHARED_MIB,
    fate: /^10 × /,
    settings: { http2: { queuedBytesMax: shared } },
  },
  {
    attack: "unreadRequests",
    what: `10,000 uploads of 60 KiB that no handler reads (all may hold ${SHARED_MIB} MiB)`,
    residentMibMax: 6 * SHARED_MIB,
    heldMibMax: 2 * SHARED_MIB,
    fate: /^10 × /,
    settings: { http2: { unreadBytesMax: shared } },
  },
  {
    attack: "keptSlivers",
    what: "4,000 times 2 KiB to keep, each in a read of 64 KiB",
    residentMibMax: 150,
    heldMibMax: 48,
    fate: /^4 × served on$/,
  },
  {
    attack: "idleConnections",
    what: "10,000 connections that do nothing",
    residentMibMax: 400,
    heldMibMax: 150,
    fate: /^10000 × served on$/,
    // And one for the bystander.
    settings: { connectionsMax: 10_001 },
  },
  {
    attack: "tinyData",
    what: "1,200,000 DATA frames of one byte, of one padded, of none",
    residentMibMax: 100,
    fate: /^3 × served on$/,
  },
  {
    attack: "decompressionBomb",
    what: "40 times 1 GiB in 1 MiB of gzip",
    residentMibMax: 400,
    fate: /^40 refused$/,
  },
  {
    attack: "compressedGarbage",
    what: "20,000 messages that are no gzip",
    residentMibMax: 250,
    fate: /^(served on|GOAWAY ENHANCE_YOUR_CALM)$/,
  },
  {
    attack: "hugeMessages",
    what: "20,000 messages that announce 4 GiB",
    residentMibMax: 150,
    fate: /^served on$/,
  },
  {
    attack: "http1SlowHeaders",
    what: "1,000 requests over HTTP/1.1 with a field now and then",
    residentMibMax: 150,
    fate: /^(\d+ × (408 and )?closed(, )?)+$/,
    settings: { http2: { headersTimeoutMs: SOON_MS } },
  },
  {
    attack: "http1LargeHeaders",
    what: "200 requests over HTTP/1.1 with 4 MiB of one field, of 600,000 fields, of target",
    residentMibMax: 150,
    // A reset may overtake the answer.
    fate: /^(\d+ × (431 and )?closed(, )?)+$/,
  },
  {
    attack: "http1SlowBodies",
    what: `200 uploads of 4 MiB over HTTP/1.1 that wait for their last byte (all may hold ${SHARED_MIB} MiB)`,
    residentMibMax: 6 * SHARED_MIB,
    heldMibMax: 2 * SHARED_MIB,
    fate: /^most refused$/,
    settings: { grpc: { heldBytesMax: shared } },
  },
  {
    attack: "http1UnreadRequests",
    what: `10,000 uploads of 60 KiB over HTTP/1.1 that no handler reads (all may hold ${SHARED_MIB} MiB)`,
    residentMibMax: 6 * SHARED_MIB,
    heldMibMax: 2 * SHARED_MIB,
    fate: /closed/,
    settings: { http2: { unreadBytesMax: shared } },
  },
  {
    attack: "http1NeverReading",
    what: `2,000 answers of 256 KiB over HTTP/1.1 that nobody reads (all may wait with ${SHARED_MIB} MiB)`,
    residentMibMax: 12 * SHARED_MIB,
    heldMibMax: 3 * SHARED_MIB,
    // Who reads nothing may not see that it was closed.
    fate: /^(\d+ × (served on|closed)(, )?)+$/,
    settings: { http2: { queuedBytesMax: shared } },
  },
  {
    attack: "http1EndlessBodies",
    what: "500 bodies over HTTP/1.1 that go on after their answer, a byte now and then",
    residentMibMax: 100,
    fate: /^500 × \d{3} and closed$/,
    settings: { http1: { droppedTimeoutMs: SOON_MS } },
  },
];

interface Row {
  readonly attack: string;
  readonly what: string;
  readonly fate: string;
  readonly peakResidentMib: number;
  readonly heldMib: number;
  readonly calls: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly quietP99Ms: number;
}

const rows: Row[] = [];

test.each(cases)("$attack: $what", async ({ attack, what, residentMibMax, heldMibMax, fate, settings = {} }) => {
  await using server = await startAttackedServer(settings);
  await using bystander = await startBystander(
    server.port,
    settings.tls === true ? { tls: { rejectUnauthorized: false } } : {},
  );
  // Warm: what the program itself needs is there, and the bystander knows how it is on a quiet day.
  await expect.poll(() => bystander.calls, PATIENT).toBeGreaterThan(2000);
  const before = await server.held({ reset: true });
  const quiet = bystander.takeExperience();

  const { ended, during } = await (async () => {
    await using running = startAttack(attack, server.port);
    const outcome = await running.done;
    // Also while the attacker holds what it has got.
    const calls = bystander.calls;
    await expect.poll(() => bystander.calls, PATIENT).toBeGreaterThan(calls + 200);
    return { ended: outcome, during: await server.held() };
  })();

  const experience = bystander.takeExperience();
  const held = await server.held();
  const row = {
    attack,
    what,
    fate: ended,
    peakResidentMib: (held.peakResidentBytes - before.residentBytes) / MIB,
    heldMib: (during.heapBytes - before.heapBytes) / MIB,
    calls: experience.calls,
    p50Ms: experience.p50Ms,
    p99Ms: experience.p99Ms,
    quietP99Ms: quiet.p99Ms,
  };
  rows.push(row);
  expect.soft(experience.failures).toEqual([]);
  expect.soft(experience.isSubscribed).toBe(true);
  expect.soft(ended).toMatch(fate);
  expect.soft(row.heldMib).toBeLessThan(heldMibMax ?? NOTHING_MIB);
  expect.soft(row.peakResidentMib).toBeLessThan(residentMibMax);
  // Nothing of the attacker is left: the bystander's calls are all there is, and the memory comes back.
  await expect.poll(async () => (await server.held()).openCalls, PATIENT).toBeLessThanOrEqual(5);
  await expect
    .poll(async () => (await server.held()).heapBytes - before.heapBytes, PATIENT)
    .toBeLessThan(NOTHING_MIB * MIB);
});

test("every attack is tried", () => {
  expect(cases.map((each) => each.attack).toSorted()).toEqual(Object.keys(attacks).toSorted());
});

afterAll(() => {
  const round = (value: number): string => value.toFixed(value < 10 ? 1 : 0);
  const lines = rows.map(({ attack, peakResidentMib, heldMib, calls, p99Ms, quietP99Ms, fate }) =>
    [
      attack.padEnd(19),
      round(peakResidentMib).padStart(8),
      round(heldMib).padStart(8),
      String(calls).padStart(8),
      round(p99Ms).padStart(8),
      round(quietP99Ms).padStart(8),
      `  ${fate}`,
    ].join(" "),
  );
  const head = "attack              peak RSS     held    calls  p99, ms   before   the attacker's end";
  process.stdout.write(
    `\n${head}\n${lines.join("\n")}\n(MiB above the server at work; held: after a garbage collection, while the attacker stays; calls and p99 of another client meanwhile)\n`,
  );
  const file = process.env["SLUICE_ABUSE_RESULTS"];
  if (file === undefined) return;
  const machine = { cpus: cpus().length, model: cpus()[0]?.model, node: process.version };
  const rounded = (_: string, value: unknown): unknown =>
    typeof value === "number" ? Math.round(value * 100) / 100 : value;
  writeFileSync(file, `${JSON.stringify({ machine, rows }, rounded, 2)}\n`);
});
