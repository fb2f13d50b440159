// An inbox on a terminal: the newest notifications, drawn over themselves whenever something happens.
//
// IS1. What happens in one turn is drawn once, in one write.
import type { Inbox } from "@sluice/client";
import { stripVTControlCharacters } from "node:util";
import type { CommandContext } from "../output.ts";
import { canDraw, type OutputStream, type Paint, paintFor, plural } from "../terminal.ts";
import { formatNotification } from "./notification-line.ts";

const ROWS = 24;
const COLUMNS = 100;

export class InboxScreen {
  readonly #stream: OutputStream;
  readonly #paint: Paint;
  readonly #isUtc: boolean;
  #drawnLines = 0;
  #due: Inbox | undefined;

  constructor(stream: OutputStream, { paint, isUtc }: { readonly paint: Paint; readonly isUtc: boolean }) {
    this.#stream = stream;
    this.#paint = paint;
    this.#isUtc = isUtc;
  }

  /** Something has happened. */
  show(inbox: Inbox): void {
    if (this.#due === undefined) setImmediate(() => this.end());
    this.#due = inbox;
  }

  /** Draws what is due, and leaves it there. */
  end(): void {
    const inbox = this.#due;
    this.#due = undefined;
    if (inbox === undefined) return;
    const { items, counts } = inbox;
    const room = Math.max(1, (this.#stream.rows ?? ROWS) - 3);
    const urgent = counts.unreadByPriority.findLastIndex((count) => count > 0);
    const unread = `${plural(counts.unread, "unread notification")}${urgent > 0 ? `, the most urgent of priority ${urgent}` : ""}`;
    const lines = [this.#paint("bold", `${inbox.userId}: ${unread}`)];
    const format = { paint: this.#paint, isUtc: this.#isUtc };
    for (const item of items.slice(0, room)) lines.push(this.#clip(formatNotification(item, format)));
    if (items.length > room) lines.push(this.#paint("dim", `and ${items.length - room} more`));
    // Lines that are no longer there are cleared.
    const cleared = Math.max(0, this.#drawnLines - lines.length);
    const up = this.#drawnLines === 0 ? "" : `\u001b[${this.#drawnLines}A`;
    const all = [...lines, ...Array.from({ length: cleared }, () => "")];
    this.#stream.write(`${up}${all.map((line) => `\r\u001b[2K${line}\n`).join("")}`);
    this.#drawnLines = all.length;
  }

  /** A line that wraps could not be drawn over. */
  #clip(line: string): string {
    const columns = this.#stream.columns ?? COLUMNS;
    const plain = stripVTControlCharacters(line);
    return plain.length < columns ? line : `${plain.slice(0, columns - 2)}…`;
  }
}

/** The screen of a terminal; undefined: there is none to draw on. */
export function openInboxScreen({ stdout, environment }: CommandContext, isUtc: boolean): InboxScreen | undefined {
  if (!canDraw(stdout, environment)) return undefined;
  return new InboxScreen(stdout, { paint: paintFor(stdout, environment), isUtc });
}
