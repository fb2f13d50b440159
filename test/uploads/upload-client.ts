// A client that puts one file, step by step, by one driver; it says each step on stdout, waits there for a line on stdin, and may
// be killed at any. Run: node upload-client.ts DRIVER ADDRESS PATH FILE
import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { DRIVERS } from "./drivers.ts";

const [, , name = "", address = "", path = "", file = ""] = process.argv;
const openDriver = DRIVERS[name as keyof typeof DRIVERS];
const content = await readFile(file);
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function step(...words: string[]): Promise<void> {
  process.stdout.write(`${words.join(" ")}\n`);
  await lines.next();
}

const driver = openDriver(address);
const upload = await driver.start(path, { size: content.length });
await step("started", upload);
const half = Math.floor(content.length / 2);
const sending = driver.send(upload, 0);
await sending.write(content.subarray(0, half));
await step("half-sent", upload);
// All but the last byte: where the last one commits, it is not committed yet.
await sending.write(content.subarray(half, -1));
await step("all-but-one-sent", upload);
await sending.write(content.subarray(-1));
await sending.end();
await step("sent", upload);
const committing = driver.commit(upload);
committing.catch(() => {});
await step("committing", upload);
await committing;
await step("committed", upload);
process.exit(0);
