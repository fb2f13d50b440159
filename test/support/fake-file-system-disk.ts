// What lies under the fake file system: folders and files, each with what the system's cache holds, what is on disk, and
// the changes between the two.

const SECTOR_BYTES = 512;

/** Says of each unsynced piece whether it reached the disk. */
type Keep = () => boolean;

type FileChange =
  | { readonly kind: "write"; readonly bytes: Buffer; readonly position: number }
  | { readonly kind: "truncate"; readonly length: number };

/** The bytes of a file. */
class Content {
  #bytes = Buffer.alloc(0);

  get length(): number {
    return this.#bytes.length;
  }

  get bytes(): Buffer {
    return this.#bytes;
  }

  apply(change: FileChange): void {
    if (change.kind === "truncate") this.#resize(change.length);
    else {
      this.#resize(Math.max(this.length, change.position + change.bytes.length));
      change.bytes.copy(this.#bytes, change.position);
    }
  }

  copyFrom(other: Content): void {
    this.#bytes = Buffer.from(other.#bytes);
  }

  #resize(length: number): void {
    if (length === this.length) return;
    const resized = Buffer.alloc(length);
    this.#bytes.copy(resized);
    this.#bytes = resized;
  }
}

export class FakeInode {
  readonly #cached = new Content();
  readonly #durable = new Content();
  #changes: FileChange[] = [];

  get length(): number {
    return this.#cached.length;
  }

  content(): Buffer {
    return Buffer.from(this.#cached.bytes);
  }

  durableContent(): Buffer {
    return Buffer.from(this.#durable.bytes);
  }

  read(buffer: Uint8Array, position: number): number {
    const part = this.#cached.bytes.subarray(position, position + buffer.length);
    buffer.set(part);
    return part.length;
  }

  write(bytes: Buffer, position: number): void {
    this.#change({ kind: "write", bytes: Buffer.from(bytes), position });
  }

  truncate(length: number): void {
    this.#change({ kind: "truncate", length });
  }

  sync(): void {
    for (const change of this.#changes) this.#durable.apply(change);
    this.#changes = [];
  }

  /** FF3. */
  failSync(keep: Keep): void {
    this.#bringToDisk(keep);
  }

  #bringToDisk(keep: Keep): void {
    for (const change of this.#changes) {
      for (const piece of piecesOf(change)) {
        if (keep()) this.#durable.apply(piece);
      }
    }
    this.#changes = [];
  }

  cutPower(keep: Keep): void {
    this.#bringToDisk(keep);
    this.#cached.copyFrom(this.#durable);
  }

  damage(position: number): void {
    this.#cached.bytes[position]! ^= 0xff;
    if (position < this.#durable.length) this.#durable.bytes[position]! ^= 0xff;
  }

  shorten(length: number): void {
    this.truncate(length);
    this.sync();
  }

  #change(change: FileChange): void {
    this.#cached.apply(change);
    this.#changes.push(change);
  }
}

/** What may reach the disk by itself: a sector of a write. */
function piecesOf(change: FileChange): FileChange[] {
  if (change.kind === "truncate") return [change];
  const pieces: FileChange[] = [];
  const { bytes, position } = change;
  for (let at = 0; at < bytes.length;) {
    const end = Math.min(bytes.length, at + SECTOR_BYTES - ((position + at) % SECTOR_BYTES));
    pieces.push({ kind: "write", bytes: bytes.subarray(at, end), position: position + at });
    at = end;
  }
  return pieces;
}

type Node = FakeInode | FakeFolder;
type FolderChange = { readonly added?: { name: string; node: Node }; readonly removed?: string; readonly move?: Move };

/** A rename from one folder to another: a change of each, and both are there after a power cut, or neither is. */
interface Move {
  readonly from: FakeFolder;
  readonly to: FakeFolder;
  /** What a power cut made of it. */
  isKept?: boolean;
}

export class FakeFolder {
  readonly #cached = new Map<string, Node>();
  readonly #durable = new Map<string, Node>();
  #changes: FolderChange[] = [];

  names(): string[] {
    return [...this.#cached.keys()].sort();
  }

  /** The folder at a path. @throws ENOENT */
  folder(path: string): FakeFolder {
    const node = this.#find(namesOf(path));
    if (!(node instanceof FakeFolder)) throw missing(path);
    return node;
  }

  hasFolder(path: string): boolean {
    return this.#find(namesOf(path)) instanceof FakeFolder;
  }

  /** The file at a path. @throws ENOENT */
  file(path: string): FakeInode {
    const node = this.#find(namesOf(path));
    if (!(node instanceof FakeInode)) throw missing(path);
    return node;
  }

  /** Makes an empty file, or empties the one that is there. */
  create(path: string): FakeInode {
    const { folder, name } = this.#parentOf(path);
    const known = folder.#cached.get(name);
    if (known instanceof FakeInode) {
      known.truncate(0);
      return known;
    }
    const node = new FakeInode();
    folder.#change({ added: { name, node } });
    return node;
  }

  makeFolder(path: string): void {
    this.#makeFolders(namesOf(path));
  }

  #makeFolders(names: readonly string[]): void {
    const [name, ...rest] = names;
    if (name === undefined) return;
    const node = this.#cached.get(name) ?? new FakeFolder();
    if (!(node instanceof FakeFolder)) throw missing(name);
    if (!this.#cached.has(name)) this.#change({ added: { name, node } });
    node.#makeFolders(rest);
  }

  rename(from: string, to: string): void {
    const node = this.#find(namesOf(from));
    if (node === undefined) throw missing(from);
    const source = this.#parentOf(from);
    const { folder, name } = this.#parentOf(to);
    if (source.folder === folder) {
      folder.#change({ removed: source.name, added: { name, node } });
      return;
    }
    const move = { from: source.folder, to: folder };
    source.folder.#change({ removed: source.name, move });
    folder.#change({ added: { name, node }, move });
  }

  remove(path: string): void {
    this.file(path);
    const { folder, name } = this.#parentOf(path);
    folder.#change({ removed: name });
  }

  removeFolder(path: string): void {
    if (this.folder(path).#cached.size > 0)
      throw Object.assign(new Error(`ENOTEMPTY: '${path}'`), { code: "ENOTEMPTY" });
    const { folder, name } = this.#parentOf(path);
    folder.#change({ removed: name });
  }

  /** Removes a file at once and durably. */
  lose(path: string): void {
    const { folder, name } = this.#parentOf(path);
    folder.#cached.delete(name);
    folder.#durable.delete(name);
  }

  /** What was moved out of it stays in between until the folder that it went to is synced. */
  sync(): void {
    const movedOut = this.#changes.filter(({ move }) => move !== undefined && move.from === this);
    for (const change of this.#changes) {
      if (movedOut.includes(change)) continue;
      apply(this.#durable, change);
      if (change.move !== undefined) change.move.from.#settle(change.move);
    }
    this.#changes = movedOut;
  }

  #settle(move: Move): void {
    for (const change of this.#changes) if (change.move === move) apply(this.#durable, change);
    this.#changes = this.#changes.filter((change) => change.move !== move);
  }

  cutPower(keep: Keep): void {
    for (const change of this.#changes) {
      if (change.move === undefined ? keep() : (change.move.isKept ??= keep())) apply(this.#durable, change);
    }
    this.#changes = [];
    this.#cached.clear();
    for (const [name, node] of this.#durable) {
      this.#cached.set(name, node);
      node.cutPower(keep);
    }
  }

  #change(change: FolderChange): void {
    apply(this.#cached, change);
    this.#changes.push(change);
  }

  #parentOf(path: string): { folder: FakeFolder; name: string } {
    const names = namesOf(path);
    const folder = this.#find(names.slice(0, -1));
    if (!(folder instanceof FakeFolder)) throw missing(path);
    return { folder, name: names.at(-1) ?? "" };
  }

  #find(names: readonly string[]): Node | undefined {
    const [name, ...rest] = names;
    if (name === undefined) return this;
    const node = this.#cached.get(name);
    return node instanceof FakeFolder ? node.#find(rest) : rest.length === 0 ? node : undefined;
  }
}

function apply(entries: Map<string, Node>, { added, removed }: FolderChange): void {
  if (removed !== undefined) entries.delete(removed);
  if (added !== undefined) entries.set(added.name, added.node);
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

function missing(path: string): Error {
  return Object.assign(new Error(`ENOENT: '${path}'`), { code: "ENOENT" });
}
