// What keeps the server busy beside the canaries: large and small entries of many applications.
import { type Clock, pause, type SluiceClient } from "@sluice/client";
import { between } from "../support/crash-random.ts";

export interface LoadOptions {
  readonly client: SluiceClient;
  readonly clock: Clock;
  readonly random: () => number;
  /** Entries a second. */
  readonly rate: number;
}

const BEAT_MS = 100;
const APPLICATIONS = 50;
const LEVELS = ["DEBUG", "INFO", "INFO", "INFO", "WARN", "ERROR"];
/** Most entries are short, one in a hundred is long. */
const SHORT_BYTES_MAX = 200;
const LONG_BYTES_MAX = 20_000;

/** Writes until `signal`, and waits until all of it is acknowledged. Returns how many entries that were. */
export async function writeLoad(options: LoadOptions, signal: AbortSignal): Promise<number> {
  const { client, clock, random, rate } = options;
  await using writer = client.openLogWriter({ retry: { initialMs: 50, maxMs: 1000 } });
  let count = 0;
  while (!signal.aborted) {
    for (let i = 0; i < (rate * BEAT_MS) / 1000; i++) {
      const length = random() < 0.01 ? between(random, 0, LONG_BYTES_MAX) : between(random, 0, SHORT_BYTES_MAX);
      count++;
      await writer.write({
        application: `load-${between(random, 1, APPLICATIONS)}`,
        level: LEVELS[between(random, 0, LEVELS.length - 1)] ?? "INFO",
        message: `${count} ${"x".repeat(length)}`,
        fields: { request: String(count), shard: String(count % 7) },
      });
    }
    await pause(clock, BEAT_MS, signal);
  }
  return count;
}
