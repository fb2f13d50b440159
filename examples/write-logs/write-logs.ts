// Writes log entries: batched, acknowledged when they are on disk, never twice in the log.
//
//   node --conditions=sluice-source examples/write-logs/write-logs.ts 127.0.0.1:8080
import { connect } from "@sluice/client";

const [address = "127.0.0.1:8080", application = "shop"] = process.argv.slice(2);

await using client = connect(address);
const writer = client.openLogWriter({
  // A bad entry does not hold up the others; without this it would end the writer.
  onRejected: ({ entry, reason, text }) => console.warn(`refused (${reason}): ${text}: ${entry.message}`),
  onDisconnected: (error, { retryInMs }) =>
    console.warn(`${String(error)}; trying again in ${Math.round(retryInMs)} ms`),
});

for (let order = 1; order <= 1000; order++) {
  const isPaid = order % 100 !== 0;
  // Resolves when there is room for more: a slow server slows this loop down, instead of filling the memory.
  await writer.write({
    application,
    level: isPaid ? "INFO" : "ERROR",
    message: isPaid ? "paid" : "card declined",
    fields: { order: String(order) },
  });
}

await writer.close(); // resolves when all of it is on the server's disk
console.log("1000 entries written");
