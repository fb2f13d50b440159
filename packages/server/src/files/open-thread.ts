// An opening thread: opens files by paths that lead to themselves (OI1 in open-inside.ts), and reads those that are small.
//
// OT1. Whatever a file system does here, however long it takes, only this thread waits for it.
// OT2. What it opens it closes, when it is told to: Node keeps a list of descriptors for each thread but the first, and closes what
//      is on it when the thread ends, whoever has that number by then.
// OT3. What was read is of the version that is answered: it was the same before and after.
import { closeSync, constants, fstatSync, openSync, readlinkSync, readSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { type FileVersion, hasSameContents, versionOf } from "./file-version.ts";
import { O_PATH, type OpenAnswer, type OpenOrder } from "./open-protocol.ts";

/** So many answers go back at once: the other thread works on them while the next are opened. */
const ANSWERS_MAX = 8;

const port = parentPort!;

port.on("message", (orders: readonly OpenOrder[]) => {
  for (let at = 0; at < orders.length; at += ANSWERS_MAX) {
    port.postMessage(orders.slice(at, at + ANSWERS_MAX).map(carryOut));
  }
});

function carryOut(order: OpenOrder): OpenAnswer {
  try {
    if (order.kind === "open") return openAtOnce(order);
    if (order.kind === "close") closeSync(order.fd);
    else setImmediate(() => port.close());
    return { kind: "closed", id: order.id };
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    return { kind: "failed", id: order.id, code, reason: String(error) };
  }
}

function openAtOnce({ id, place, contentsMax }: Extract<OpenOrder, { kind: "open" }>): OpenAnswer {
  const wanted = Buffer.from(place);
  const held = openSync(wanted, O_PATH | constants.O_NOFOLLOW);
  try {
    if (!readlinkSync(`/proc/self/fd/${held}`, { encoding: "buffer" }).equals(wanted)) return { kind: "elsewhere", id };
    const stats = fstatSync(held, { bigint: true });
    const isFolder = stats.isDirectory();
    if (!stats.isFile() && !isFolder)
      return { kind: "failed", id, code: "EPERM", reason: "neither a file nor a folder" };
    const version = versionOf(stats);
    const fd = openSync(`/proc/self/fd/${held}`, constants.O_RDONLY | constants.O_NONBLOCK);
    const contents = isFolder || version.size > contentsMax ? undefined : readAll(fd, version);
    return { kind: "opened", id, fd: contents === undefined ? fd : -1, isFolder, version, contents };
  } finally {
    closeSync(held);
  }
}

/** OT3. Closes the file, unless it is changing: then it is for its reader to find out how. */
function readAll(fd: number, version: FileVersion): Uint8Array | undefined {
  const bytes = new Uint8Array(version.size);
  let done = 0;
  try {
    for (let count = -1; count !== 0 && done < bytes.length; done += count) {
      count = readSync(fd, bytes, done, bytes.length - done, null);
    }
    const now = versionOf(fstatSync(fd, { bigint: true }));
    if (done < bytes.length || !hasSameContents(now, version)) return undefined;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  closeSync(fd);
  return bytes;
}
