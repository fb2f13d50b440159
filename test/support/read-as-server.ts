// A data folder as a server serves it, in the words of test/interop/python/read_log.py: a line for each entry, and for each
// gap. Gaps that touch are one.
import { createLogger, loadConfig, nodeFileSystem, openServer, systemClock } from "@sluice/server";
import { collect, openLogClient } from "./log-client.ts";

export type Line =
  | { sequence: number; epoch: number; timestamp: number; application: string; message: string }
  | { gap: [number, number] };

/** Serves the folder and reads its log "default" to the end. */
export async function readAsServer(folder: string): Promise<Line[]> {
  const flags = new Map([
    ["data", folder],
    ["listen", "127.0.0.1:0"],
  ]);
  const { config } = await loadConfig({ flags, environment: {}, folder });
  const logger = createLogger({ format: "json", level: "fatal", clock: systemClock, write: () => undefined });
  await using server = await openServer(config, { clock: systemClock, fileSystem: nodeFileSystem, logger });
  await using client = openLogClient(server.address);
  const lines: Line[] = [];
  for (const entry of await collect(client.logs.streamLogs({}))) {
    const { control, sequence, cursor, timestamp, application, message } = entry;
    if (control === undefined) {
      const { epoch } = placeOf(cursor);
      lines.push({ sequence: Number(sequence), epoch, timestamp: Number(timestamp), application, message });
    } else if (control.kind.case === "gap") {
      const { toCursor, count } = control.kind.value;
      const last = placeOf(toCursor).sequence;
      addGap(lines, last - Number(count) + 1, last);
    }
  }
  return lines;
}

/** What is in a cursor (docs/formats/log.md). */
function placeOf(cursor: string): { epoch: number; sequence: number } {
  const bytes = Buffer.from(cursor, "base64url");
  return { epoch: bytes.readUInt16BE(2), sequence: bytes.readUIntBE(4, 6) };
}

function addGap(lines: Line[], first: number, last: number): void {
  const before = lines.at(-1);
  if (before !== undefined && "gap" in before && before.gap[1] === first - 1) before.gap[1] = last;
  else lines.push({ gap: [first, last] });
}

/** The same lines with gaps that touch made one. */
export function mergeGaps(lines: readonly Line[]): Line[] {
  const merged: Line[] = [];
  for (const line of lines) {
    if ("gap" in line) addGap(merged, ...line.gap);
    else merged.push(line);
  }
  return merged;
}
