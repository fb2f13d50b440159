// Joins pieces to records, and says where reading may begin anew: lines that a container's runtime had cut, and lines that
// belong to the one before them, such as a stack trace's.
//
// R1. The same pieces give the same records, from any clean place on: joining knows nothing but the pieces since then, and
//     where it was cut. A clean place is one at which nothing is open.
// R2. Nothing is lost: each piece that is not blank is in exactly one record, in order within its stream.
// R3. It holds less than RECORD_BYTES_MAX of each stream and one piece, and after RECORDS_BETWEEN_MAX records without a
//     clean place it makes one.
import { isUtf8 } from "node:buffer";
import type { NewLogEntry } from "@sluice/client";
import { type ContainerLine, unwrapContainerLine } from "./container-line.ts";
import { followsInTrace, type JoinRule, type Trace } from "./join-rule.ts";
import { entryOfJournal } from "./journal-entry.ts";
import { parseJournalExport } from "./journal-export.ts";
import { LINE_BYTES_MAX, type Piece } from "./line-splitter.ts";
import { type FoundFormat, type LineSource, readPart, type ReadText, readText, withSource } from "./read-line.ts";
import { countReplaced, decodeText } from "./text-bytes.ts";

/** Characters of a record of several lines, and of a line of several pieces. A character takes three bytes at most. */
const RECORD_CHARACTERS_MAX = LINE_BYTES_MAX;
const RECORD_LINES_MAX = 1000;
const RECORDS_BETWEEN_MAX = 256;

export interface JoinedRecord {
  readonly entry: NewLogEntry;
  readonly format: FoundFormat;
}

export interface JoinCounts {
  /** That are not blank; of a cut line each piece. */
  lines: number;
  /** Blank ones that are in no record. */
  blank: number;
  /** Pieces of lines that were too long to be one entry. */
  pieces: number;
  /** Invalid UTF-8 sequences, each replaced by U+FFFD. */
  replaced: number;
}

/** What is open of one stream; a file that is no container's has one. */
interface Stream {
  /** A line whose rest is to come. */
  partial: { readonly first: ContainerLine; text: string; readonly start: number } | undefined;
  record: Open | undefined;
}

interface Open {
  readonly start: number;
  readonly entry: NewLogEntry;
  readonly first: string;
  /** The lines behind the first one, each with its newline before it. */
  more: string;
  lines: number;
  trace: Trace;
  /** Blank lines that were seen since the last line. */
  blank: number;
  /** Number of this part of a record that was too long; 0: it is whole so far. */
  part: number;
}

export class RecordJoiner {
  readonly #rule: JoinRule;
  readonly #source: LineSource;
  readonly #counts: JoinCounts;
  readonly #streams = new Map<string, Stream>();
  /** Records since the last clean place. */
  #sinceClean = 0;
  /** A piece of something longer came last. */
  #isInParts = false;

  /** @param counts are added to. */
  constructor(rule: JoinRule, source: LineSource, counts: JoinCounts) {
    this.#rule = rule;
    this.#source = source;
    this.#counts = counts;
  }

  /** Where the earliest piece begins that is in no record yet; undefined: nothing is open. */
  get openSince(): number | undefined {
    let since: number | undefined;
    for (const { partial, record } of this.#streams.values()) {
      const start = record?.start ?? partial?.start;
      if (start !== undefined && (since === undefined || start < since)) since = start;
    }
    return since;
  }

  /** Reading can begin behind the last piece, if nothing is open. */
  get isBetweenEntries(): boolean {
    return !this.#isInParts;
  }

  /** Takes a piece; returns the records that are complete with it. */
  push(piece: Piece): JoinedRecord[] {
    const records: JoinedRecord[] = [];
    if (piece.bytes.length === 0) {
      this.#counts.blank++;
      const open = this.#streams.get("")?.record;
      if (open !== undefined) open.blank++;
      return records;
    }
    this.#counts.lines++;
    if (piece.part > 0) this.#pushPart(piece, records);
    else if (piece.kind === "journal") this.#pushJournal(piece, records);
    else this.#pushLine(piece, records);
    // What this piece began may stay open: before it is a clean place as well.
    const openSince = this.openSince;
    this.#sinceClean = openSince === undefined || openSince >= piece.start ? 0 : this.#sinceClean + records.length;
    if (this.#sinceClean >= RECORDS_BETWEEN_MAX) records.push(...this.cut());
    return records;
  }

  /** Ends what is open. From here on it is as if reading began here. */
  cut(): JoinedRecord[] {
    const records: JoinedRecord[] = [];
    const open = Array.from(this.#streams.values()).toSorted((a, b) => startOf(a) - startOf(b));
    for (const stream of open) {
      this.#endPartial(stream, records);
      this.#end(stream, records);
    }
    this.#streams.clear();
    this.#sinceClean = 0;
    return records;
  }

  #pushPart(piece: Piece, records: JoinedRecord[]): void {
    records.push(...this.cut());
    this.#counts.pieces++;
    this.#isInParts = piece.kind === "journal" && !piece.isLast;
    records.push({ entry: readPart(piece, this.#decode(piece.bytes), this.#source), format: "text" });
  }

  #pushJournal(piece: Piece, records: JoinedRecord[]): void {
    const fields = parseJournalExport(piece.bytes);
    const found = fields === undefined ? undefined : entryOfJournal(fields);
    if (found === undefined) {
      records.push({ entry: withSource({ message: this.#decode(piece.bytes) }, this.#source), format: "text" });
      return;
    }
    this.#counts.replaced += found.replaced;
    records.push({ entry: withSource(found.entry, this.#source), format: "journal" });
  }

  #pushLine(piece: Piece, records: JoinedRecord[]): void {
    const text = this.#decode(piece.bytes);
    const { format = "auto" } = this.#source;
    const line = format === "auto" || format === "docker" || format === "cri" ? unwrapContainerLine(text) : undefined;
    if (line === undefined) {
      this.#take(this.#streamOf(""), { text, start: piece.start, line }, records);
      return;
    }
    const stream = this.#streamOf(line.stream);
    const { partial } = stream;
    const whole = (partial?.text ?? "") + line.text;
    const isTooLong = whole.length > RECORD_CHARACTERS_MAX;
    const start = partial?.start ?? piece.start;
    const first = partial?.first ?? line;
    stream.partial = undefined;
    if (whole === "" && !line.isPartial) {
      this.#counts.lines--;
      this.#counts.blank++;
      if (stream.record !== undefined) stream.record.blank++;
    } else if (line.isPartial && !isTooLong) stream.partial = { first, text: whole, start };
    else this.#take(stream, { text: whole, start, line: first }, records);
  }

  /** A whole line: it goes on with the record that is open, or begins one. */
  #take(
    stream: Stream,
    line: { text: string; start: number; line: ContainerLine | undefined },
    records: JoinedRecord[],
  ): void {
    const { text, start } = line;
    const open = stream.record;
    const read = this.#rule.kind === "time" && open !== undefined ? readText(text, this.#source) : undefined;
    const trace = open === undefined ? undefined : this.#follows(text, open, read);
    if (open !== undefined && trace !== undefined) {
      const blanks = "\n".repeat(open.blank + 1);
      if (open.lines < RECORD_LINES_MAX && open.first.length + open.more.length + text.length < RECORD_CHARACTERS_MAX) {
        this.#counts.blank -= open.blank;
        this.#counts.lines += open.blank;
        open.more += blanks + text;
        open.lines += 1 + open.blank;
        open.blank = 0;
        open.trace = trace;
        return;
      }
      // Too long for one entry: it goes on in another.
      open.part ||= 1;
      this.#end(stream, records);
      const entry = wrap(withSource({ message: text }, this.#source), line.line);
      stream.record = { start, entry, first: text, more: "", lines: 1, trace, blank: 0, part: open.part + 1 };
      return;
    }
    this.#end(stream, records);
    const { entry: found, format } = read ?? readText(text, this.#source);
    const entry = wrap(found, line.line);
    if (!mayGoOn(format, this.#rule)) records.push({ entry, format });
    else stream.record = { start, entry, first: text, more: "", lines: 1, trace: "none", blank: 0, part: 0 };
  }

  /** @param read for the rule "time": what the line is by itself. */
  #follows(text: string, open: Open, read: ReadText | undefined): Trace | undefined {
    const rule = this.#rule;
    switch (rule.kind) {
      case "none":
        return undefined;
      case "traces":
        return followsInTrace(
          text,
          {
            message: open.entry.message ?? "",
            severityNumber: open.entry.severityNumber ?? 0,
            lines: open.lines,
            trace: open.trace,
          },
          open.blank > 0,
        );
      case "time":
        return read?.entry.timestamp === undefined && read?.format === "text" ? "none" : undefined;
      case "start":
        return rule.pattern.test(text) ? undefined : "none";
      default:
        return rule satisfies never;
    }
  }

  #end(stream: Stream, records: JoinedRecord[]): void {
    const open = stream.record;
    if (open === undefined) return;
    stream.record = undefined;
    const { entry, more, part } = open;
    const message = (entry.message ?? "") + more;
    const fields = part === 0 ? entry.fields : { ...entry.fields, part: String(part) };
    records.push({ entry: { ...entry, message, ...(fields === undefined ? {} : { fields }) }, format: "text" });
  }

  #endPartial(stream: Stream, records: JoinedRecord[]): void {
    const { partial } = stream;
    if (partial === undefined) return;
    stream.partial = undefined;
    this.#take(stream, { text: partial.text, start: partial.start, line: partial.first }, records);
  }

  #streamOf(name: string): Stream {
    const found = this.#streams.get(name) ?? { partial: undefined, record: undefined };
    this.#streams.set(name, found);
    return found;
  }

  #decode(bytes: Uint8Array): string {
    const text = decodeText(bytes);
    if (!isUtf8(bytes)) this.#counts.replaced += countReplaced(text, bytes);
    return text;
  }
}

/** Whether lines may follow that belong to the same record. */
function mayGoOn(format: FoundFormat, { kind }: JoinRule): boolean {
  switch (kind) {
    case "none":
      return false;
    case "traces":
      return format === "text";
    case "time":
      return format === "text" || format === "syslog";
    case "start":
      return true;
    default:
      return kind satisfies never;
  }
}

/** Adds what a container's runtime says of a line. Its time is the entry's, unless the line has one of its own. */
function wrap(entry: NewLogEntry, line: ContainerLine | undefined): NewLogEntry {
  if (line === undefined) return entry;
  const { stream, time, timestamp, attributes } = line;
  const fields: Record<string, string> = { stream };
  if (entry.timestamp !== undefined) fields["container_time"] = time;
  for (const [name, value] of Object.entries(attributes)) fields[`attributes.${name}`] = value;
  return { ...entry, timestamp: entry.timestamp ?? timestamp, fields: { ...fields, ...entry.fields } };
}

function startOf({ record, partial }: Stream): number {
  return record?.start ?? partial?.start ?? 0;
}
