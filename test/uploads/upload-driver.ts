// What the contract suite of uploads asks of a protocol. One driver for each; a call of it is what a client of that protocol
// does, over a real socket, and it keeps nothing in memory that the protocol does not: what `start` returns is enough to
// go on with from another process.

/** What a driver's protocol promises beyond what all of them do. */
export interface Abilities {
  /** A piece has a checksum; a damaged one is not taken. */
  readonly checksPieces: boolean;
  /** The whole has a SHA-256 that is given before the bytes (`StartOptions.sha256`), and that a commit verifies. */
  readonly checksWhole: boolean;
  /** Bytes that the server has already are skipped when they come again; false: refused, fault "offset". */
  readonly skipsDuplicates: boolean;
  /** The size that it is started with must be there when it is committed. */
  readonly knowsSize: boolean;
  /** An upload can be given up by its client. */
  readonly aborts: boolean;
  /** The last byte commits: `commit` only asks again. */
  readonly commitsWithLastByte: boolean;
}

export interface StartOptions {
  /** Of the whole file, in bytes. */
  readonly size: number;
  /** In hex. Only for drivers that `checksWhole`. */
  readonly sha256?: string;
}

export interface UploadStatus {
  /** Up to which all is durable, in bytes. */
  readonly offset: number;
  readonly isCommitted: boolean;
}

/** One request that carries bytes, while it is open. */
export interface Sending {
  /** Sends more; resolves when they are on their way. Never fails: `end` says what went wrong. */
  write(bytes: Uint8Array): Promise<void>;
  /** There are no more. Resolves with the durable offset that the server answers. @throws UploadFault */
  end(): Promise<number>;
  /** Breaks off, as a client that dies: the server sees no end of the request. */
  cut(): void;
}

export interface UploadDriver extends AsyncDisposable {
  readonly name: string;
  readonly abilities: Abilities;
  /** Begins an upload of a file to a path. Returns all that finds it again. */
  start(path: string, options: StartOptions): Promise<string>;
  /** @param options.checksum `right`: each piece with its checksum; `wrong`: with another one (drivers that `checksPieces`) */
  send(upload: string, offset: number, options?: { readonly checksum?: "right" | "wrong" }): Sending;
  /** "gone": the server knows of no such upload. */
  status(upload: string): Promise<UploadStatus | "gone">;
  /** Resolves when the file is in its place. May be asked again. @throws UploadFault */
  commit(upload: string): Promise<void>;
  abort(upload: string): Promise<void>;
}

export type FaultKind =
  /** Another call works on it. */
  | "in-use"
  /** The offset is not where the bytes so far end. */
  | "offset"
  | "checksum"
  /** Bytes are missing at its end. */
  | "incomplete"
  | "gone"
  /** No room: later, with `retryAfterMs`. */
  | "disk-full"
  /** It stood still for too long. */
  | "stalled"
  /** The connection or the server went away. */
  | "interrupted"
  | "other";

/** How a request ended that did not end well. */
export class UploadFault extends Error {
  override readonly name = "UploadFault";
  readonly kind: FaultKind;
  /** Ms; undefined: the server did not say. */
  readonly retryAfterMs: number | undefined;
  constructor(
    kind: FaultKind,
    message: string,
    options: ErrorOptions & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(`${kind}: ${message}`, options);
    this.kind = kind;
    this.retryAfterMs = options.retryAfterMs;
  }
}

/** Makes a driver that talks to a server. Cheap: a test makes one for each life of its server. */
export type OpenDriver = (address: string) => UploadDriver;
