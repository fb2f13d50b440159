// Follows an application's errors, and goes on exactly where it stopped: over lost connections, and over restarts of itself.
//
//   node --conditions=sluice-source examples/follow-logs/follow-logs.ts 127.0.0.1:8080 shop
import { readFile, rename, writeFile } from "node:fs/promises";
import { connect } from "@sluice/client";

const [address = "127.0.0.1:8080", application = "shop", cursorFile = "follow-logs.cursor"] = process.argv.slice(2);

// Ctrl-C ends the loop below between two entries.
const stop = new AbortController();
process.once("SIGINT", () => stop.abort());

/** The last entry that was handled; empty at the first start. */
const resumeAfter = await readFile(cursorFile, "utf8").catch(() => "");

await using client = connect(address);
const stream = client.streamLogs(
  { applications: [application], logLevel: "ERROR", follow: true, resumeAfter },
  {
    signal: stop.signal,
    onGap: ({ count }) => console.warn(`${count} entries were deleted before they could be read`),
  },
);

try {
  for await (const entry of stream) {
    console.log(entry.message, entry.fields);
    // Handled: remember it, in one step, so that a crash leaves the old cursor or the new one.
    await writeFile(`${cursorFile}.new`, stream.cursor);
    await rename(`${cursorFile}.new`, cursorFile);
  }
} catch (error) {
  if (!stop.signal.aborted) throw error;
}
