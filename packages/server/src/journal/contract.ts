// A journal: what was decided, durable, in order. Whoever owns it is what its records make of it.
//
//   owner    decides, appends the record of it; at the start gets all records again
//   format   how its records are written and read (RecordFormat)
//   journal  group commit, recovery, space, bodies (journal.ts)

/** Where a record lies in the journal: its sequence in the log. Ascending, with holes for nobody to see. */
export type Place = number;

/** Of records as their owner makes them. */
export interface Journal<New> extends AsyncDisposable {
  /**
   * Adds a record to the next group commit. Never waits.
   * @throws DiskFull, LogReadOnly, QuotaExceeded, LimitExceeded: nothing was added
   */
  append(record: New): Place;
  /** Bytes that the last appended record takes on disk: what `replay` would say of it. */
  readonly appendedBytes: number;
  /** Resolves when everything up to `place` is durable; undefined: it is already. Rejects when the journal has failed. */
  durable(place: Place): Promise<void> | undefined;
  /**
   * Whether something new of so many bytes fits now: some room is kept for the records that end things. What was admitted may
   * be appended in the same turn without a refusal. @throws as `append`
   */
  admit(bytes: number): void;
  /** Resolves when bytes that are not durable yet have become fewer; undefined: there is room for `bytes` now. */
  room(bytes: number): Promise<void> | undefined;
  /**
   * The stored bytes of the body of the record at this place (RecordFormat). At once when they are in memory. The bytes stay
   * valid. Rejects with DataLoss when they do not match their checksum.
   */
  body(place: Place): Uint8Array | Promise<Uint8Array>;
  /** Called once, when nothing more can be appended or made durable. */
  onFailure(listener: (error: Error) => void): void;
  readonly diskBytes: number;
}

/** What the journal asks of its owner. */
export interface JournalOwner<Stored, New> {
  /** Called first. Answers up to where the owner knows what the records say: those behind it are replayed. */
  recall?(records: RecordsThere): Promise<Place>;
  /** A record that was there when the journal was opened, in order. `bytes`: what it takes on disk. */
  replay(record: Stored, place: Place, bytes: number): void;
  /** Everything up to `place` is durable now; called before those hear of it who wait for it. */
  committed?(place: Place): void;
  /**
   * A record is about to be removed, with all before it. Answers the records that must stand in its place at the end, in the
   * state of now; none when nothing depends on it any more. A body of the answer is the very object of `record`, so its
   * stored bytes may be copied. A promise: something is on its way to the disk that changes the answer; ask again then.
   */
  carry(record: Stored, place: Place): readonly New[] | Promise<void>;
  /** What was carried has its new place. */
  carried(record: New, place: Place, bytes: number): void;
  /** Of what is there, as its records take on disk. Space returns when the journal takes twice as much. */
  readonly liveBytes: number;
  /** What lies here and before must leave the disk now, what is alive carried on, however little it is. */
  readonly staleThrough?: Place;
}

/** How the records of a journal are written and read: a protobuf message of one kind, fields 1 to 12, each a message. */
export interface RecordFormat<Stored, New> {
  /** The greatest field number of a kind. */
  readonly kindsMax: number;
  createEncoder(): RecordEncoder<New>;
  createReader(): RecordReader<Stored>;
  /** By its field number: whether a record of this kind may outlast what is removed with it. Others are not asked for. */
  isCarried(kind: number): boolean;
  /** Whether it has a body, which is found by its place, also when it was carried. */
  hasBody(record: New): boolean;
  /** The body in a frame that proved itself; undefined: it has none. */
  findBody(frame: Uint8Array): Uint8Array | undefined;
}

/** Measures a record, then writes it where there is room. Used again for each. */
export interface RecordEncoder<New> {
  /**
   * Bytes of the record's kind: tag, length and message. `body`: as it is stored, in place of the record's own.
   * @throws TypeError for a record without a kind
   */
  measure(record: New, body?: Uint8Array): number;
  /** Writes what was measured last; answers where it ends. */
  write(bytes: Buffer, at: number): number;
}

/** Reads one record after the other. */
export interface RecordReader<Stored> {
  /** Where the body of the record lies that was read last; 0, 0: it has none. */
  readonly bodyStart: number;
  readonly bodyEnd: number;
  /** The record of a message that proved itself. @throws when its content is none */
  read(bytes: Uint8Array, start: number, end: number): Stored;
}

/** What an owner asks of the records on disk before they are replayed. */
export interface RecordsThere {
  readonly first: Place;
  readonly last: Place;
  /** CRC-32 of the frame of a record; undefined: it is not there, or does not prove itself. */
  sumOf(place: Place): Promise<number | undefined>;
}

/** What a journal belongs to, for errors. */
export interface JournalSubject {
  /** 'queue "tax"'. */
  readonly label: string;
  /** With which the reasons of errors begin: "QUEUE". */
  readonly code: string;
  /** Of ErrorInfo. */
  readonly facts: Readonly<Record<string, string>>;
  /** What is left when records are lost: "delete the queue". */
  readonly remedy: string;
}
