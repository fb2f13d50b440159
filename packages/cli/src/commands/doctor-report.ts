// What an examination of a log found, or of what is kept in one (a queue, metrics), in words.
import type { LogHealth, SegmentHealth } from "@sluice/server";
import type { Output } from "../output.ts";
import { formatBytes, formatCount, plural } from "../terminal.ts";

/** Says how a log was found, and what was repaired or would be. */
export async function tellLog(
  output: Output,
  log: LogHealth,
  { isRepair, kind = "log" }: { readonly isRepair: boolean; readonly kind?: "log" | "queue" | "metrics" },
): Promise<void> {
  const { paint } = output;
  const count = kind === "log" ? plural(log.entries, "entry", "entries") : plural(log.entries, "record");
  const leftovers = log.leftovers.map((name) =>
    paint(
      "yellow",
      `  ${name} was left by an interrupted write${isRepair ? ": removed" : "; the next start removes it"}`,
    ),
  );
  await output.result({
    text: () =>
      [
        `${kind} ${log.name}: ${count}, ${formatBytes(log.bytes)} in ${plural(log.segments.length, "segment")}`,
        ...log.missing.map(({ first, last }) => paint("red", `  entries ${range(first, last)} are missing`)),
        ...(log.epochs === "damaged"
          ? [paint("red", "  the table of epochs is damaged; the next start begins a new epoch")]
          : []),
        ...dictionaryText(log.dictionary, output),
        ...leftovers,
        ...log.segments.flatMap((segment) => textOf(segment, output)),
      ].join("\n"),
    json: () => (kind === "log" ? log : { [kind]: log.name, ...log }),
  });
}

function dictionaryText({ damagedRecords, unknownIds }: LogHealth["dictionary"], { paint }: Output): string[] {
  if (damagedRecords === 0 && unknownIds === 0) return [];
  const what = [
    ...(damagedRecords === 0 ? [] : [`${plural(damagedRecords, "record")} do not match their checksum`]),
    ...(unknownIds === 0
      ? []
      : [`${plural(unknownIds, "resource or scope", "resources and scopes")} of entries are lost`]),
  ].join(", ");
  return [
    paint("red", `  the dictionary of OpenTelemetry's resources: ${what}; what programs send again is known again`),
  ];
}

/** What is to be said of a segment; nothing when all of it is good. */
function textOf(segment: SegmentHealth, { paint }: Output): string[] {
  const { first, damaged, tailBytes, isTailCut, isIsolated, table, index } = segment;
  const name = `  segment ${formatCount(first)}:`;
  const lines = damaged.map((each) =>
    paint(
      "red",
      `${name} entries ${range(each.first, each.last)} do not match their checksum${isIsolated ? " (marked as a gap)" : ""}`,
    ),
  );
  if (tailBytes > 0) {
    const isLast = index === "none";
    const fate = isTailCut ? " and were cut" : isLast ? " and are cut by --repair and at the next start" : "";
    lines.push(paint(isLast ? "yellow" : "red", `${name} ${formatBytes(tailBytes)} at its end prove nothing${fate}`));
  }
  if (table === "damaged")
    lines.push(paint("yellow", `${name} its table of groups is damaged; --repair writes it anew`));
  if (table === "rebuilt") lines.push(paint("green", `${name} its table of groups was written anew`));
  if (index === "missing" || index === "wrong") {
    lines.push(paint("yellow", `${name} its index is ${index}; --repair writes it anew`));
  }
  if (index === "rebuilt") lines.push(paint("green", `${name} its index was written anew`));
  return lines;
}

function range(first: number, last: number): string {
  return first === last ? formatCount(first) : `${formatCount(first)} to ${formatCount(last)}`;
}
