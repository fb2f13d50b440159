// One connection of an attacker: bytes out as it likes, of what comes back only what tells how the attack goes.
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import { ErrorCode, FrameType, PREFACE } from "../../packages/rpc/src/http2/frame.ts";
import { frame, settingsFrame, uint32 } from "../../packages/rpc/src/http2/testing/frames.ts";

/** Tells the PINGs of `heard` from those of a flood. */
const QUESTION = 0xf0e;

/** A connection, whatever it speaks. */
export abstract class Foe {
  readonly socket: Socket;
  isClosed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("error", () => {});
    socket.on("close", () => (this.isClosed = true));
    socket.on("data", (bytes: Buffer) => this.read(bytes));
  }

  /** How the server ended it. */
  abstract get fate(): string;

  protected abstract read(bytes: Buffer): void;

  /** Resolves when the socket has taken it or is closed, and what came meanwhile was read. */
  async send(...parts: readonly Uint8Array[]): Promise<void> {
    if (this.isClosed) return;
    if (this.socket.write(Buffer.concat(parts))) await turn();
    else await this.next("drain");
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await this.next("close");
  }

  /** The next such event, or the close. */
  protected async next(event: string): Promise<void> {
    const over = new AbortController();
    const { signal } = over;
    await Promise.race([once(this.socket, event, { signal }), once(this.socket, "close", { signal })]).catch(() => {});
    over.abort();
  }
}

export class Http2Foe extends Foe {
  /** Frames received, by type. */
  readonly received = new Map<number, number>();
  /** The error code of the server's GOAWAY. */
  goaway: string | undefined;
  /** PINGs of `heard`, and the last of them that was answered. */
  #asked = 0;
  #answered = 0;
  #rest: Buffer = Buffer.alloc(0);

  /** Resolves when the server has seen all that was sent, or has ended the connection. */
  async heard(): Promise<void> {
    const question = ++this.#asked;
    await this.send(frame(FrameType.PING, 0, 0, uint32(QUESTION, question)));
    while (!this.isClosed && this.goaway === undefined && this.#answered < question) await this.next("data");
  }

  count(type: number): number {
    return this.received.get(type) ?? 0;
  }

  get fate(): string {
    if (this.goaway !== undefined) return `GOAWAY ${this.goaway}`;
    return this.isClosed ? "closed" : "served on";
  }

  protected read(bytes: Buffer): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes]);
    let at = 0;
    for (; at + 9 <= all.length;) {
      const end = at + 9 + all.readUIntBE(at, 3);
      if (end > all.length) break;
      const type = all[at + 3] ?? 0;
      this.received.set(type, this.count(type) + 1);
      if (type === FrameType.PING && all.readUInt32BE(at + 9) === QUESTION) this.#answered = all.readUInt32BE(at + 13);
      if (type === FrameType.GOAWAY) this.goaway = nameOf(all.readUInt32BE(at + 13));
      at = end;
    }
    this.#rest = all.subarray(at);
  }
}

/** A connection of HTTP/1.1: of the answers only their status is kept. */
export class Http1Foe extends Foe {
  readonly statuses: string[] = [];

  get fate(): string {
    const last = this.statuses.at(-1);
    if (last === undefined) return this.isClosed ? "closed" : "served on";
    return this.isClosed ? `${last} and closed` : last;
  }

  /** Resolves when so many answers have begun, or with the connection. */
  async answered(count: number): Promise<void> {
    while (this.statuses.length < count && !this.isClosed) await this.next("data");
  }

  protected read(bytes: Buffer): void {
    for (const [, status] of bytes.toString("latin1").matchAll(/HTTP\/1\.1 (\d{3})/g)) this.statuses.push(status ?? "");
  }
}

function nameOf(code: number): string {
  return Object.entries(ErrorCode).find(([, value]) => value === code)?.[0] ?? String(code);
}

/** A connection on which nothing was said. */
export async function openSilent(port: number): Promise<Http2Foe> {
  const foe = new Http2Foe(connect({ port, host: "127.0.0.1" }));
  await once(foe.socket, "connect");
  return foe;
}

/** A connection after its preface. @param settings identifier, value, … */
export async function openFoe(port: number, ...settings: readonly number[]): Promise<Http2Foe> {
  const foe = await openSilent(port);
  await foe.send(PREFACE, settingsFrame(...settings));
  return foe;
}

export async function openHttp1(port: number): Promise<Http1Foe> {
  const foe = new Http1Foe(connect({ port, host: "127.0.0.1" }));
  await once(foe.socket, "connect");
  return foe;
}

/** So many at once, a few hundred at a time. */
export async function openMany<T>(count: number, open: () => Promise<T>): Promise<T[]> {
  const foes: T[] = [];
  while (foes.length < count) {
    const batch = Array.from({ length: Math.min(200, count - foes.length) }, open);
    foes.push(...(await Promise.all(batch)));
  }
  return foes;
}

/** "3 × GOAWAY ENHANCE_YOUR_CALM, 1 × served on". */
export function fatesOf(foes: readonly Foe[]): string {
  const counts = new Map<string, number>();
  for (const { fate } of foes) counts.set(fate, (counts.get(fate) ?? 0) + 1);
  if (foes.length === 1) return foes[0]?.fate ?? "";
  return [...counts].map(([fate, count]) => `${count} × ${fate}`).join(", ");
}
