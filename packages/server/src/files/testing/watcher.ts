// A reader of watches, as the transport and a client are one together: pulls when it is woken, and knows of the folder what
// it was told.
import { fromBinary } from "@bufbuild/protobuf";
import {
  FileChangeKind,
  FileChangeKindSchema,
  type FileInfo,
  ResyncReasonSchema,
  type WatchFilesResponse,
  WatchFilesResponseSchema,
} from "@sluice/api";
import { FRAME_HEADER_BYTES, type FrameSource, type FrameStream } from "@sluice/rpc";

export class Watcher implements FrameStream {
  readonly source: FrameSource;
  /** In order: "created a", "removed b/", "sync", "resync GENERATION_UNKNOWN", "heartbeat". */
  readonly told: string[] = [];
  readonly messages: WatchFilesResponse[] = [];
  /** By path: what is there, as far as this reader knows. */
  readonly known: Map<string, FileInfo>;
  /** Where another watch goes on. */
  token = "";
  isOpen = true;
  /** Pulls nothing. */
  isStalled: boolean;
  error: unknown;

  constructor(source: FrameSource, options: { isStalled?: boolean; known?: ReadonlyMap<string, FileInfo> } = {}) {
    this.source = source;
    this.known = new Map(options.known);
    this.isStalled = options.isStalled ?? false;
    source.attach(this);
    this.wake();
  }

  get paths(): string[] {
    return [...this.known.keys()].toSorted();
  }

  wake(): void {
    queueMicrotask(() => {
      while (this.isOpen && !this.isStalled && this.take());
    });
  }

  /** Pulls once. */
  take(): boolean {
    const frame = this.source.pull(64 * 1024);
    if (frame === undefined) return false;
    const message = fromBinary(WatchFilesResponseSchema, frame.subarray(FRAME_HEADER_BYTES));
    this.messages.push(message);
    this.#hear(message);
    return true;
  }

  end(): void {
    this.isOpen = false;
  }

  fail(error: unknown): void {
    this.isOpen = false;
    this.error = error;
  }

  #hear({ changes, resumeToken, resync, control }: WatchFilesResponse): void {
    if (resync !== undefined) {
      this.known.clear();
      this.told.push(`resync ${ResyncReasonSchema.value[resync.reason]!.localName}`);
    }
    for (const { kind, file } of changes) {
      const { filePath, isDirectory } = file!;
      if (kind === FileChangeKind.REMOVED) this.known.delete(filePath);
      else this.known.set(filePath, file!);
      this.told.push(
        `${FileChangeKindSchema.value[kind]!.localName.toLowerCase()} ${filePath}${isDirectory ? "/" : ""}`,
      );
    }
    if (resumeToken !== "") this.token = resumeToken;
    const kind = control?.kind;
    if (kind?.case === "sync") this.token = kind.value.cursor;
    if (kind?.case !== undefined) this.told.push(kind.case);
  }
}
