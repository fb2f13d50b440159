// The body of a request on its way into an upload.
//
// TB1. However it ends, what was received before is on disk, and counts unless it waits for its checksum.
import type { HttpRequest } from "@sluice/rpc";
import { SluiceError } from "../errors.ts";
import type { Clock } from "../store/contract.ts";
import { UploadStalled } from "./file-errors.ts";
import type { RequestChecksum } from "./tus-request.ts";
import { ReceivedBytes } from "./uploads/received-bytes.ts";
import type { Upload } from "./uploads/upload.ts";

export interface BodyOptions {
  readonly checksum: RequestChecksum | undefined;
  readonly clock: Clock;
  /** How long it may stand still. */
  readonly stallMs: number;
  /** Somebody works on it. */
  readonly touch: () => void;
}

/** Resolves when all of it is durable. @throws UploadStalled, NoSpaceForUpload, ChecksumMismatch, …; what ended the request */
export async function receiveBody(request: HttpRequest, upload: Upload, options: BodyOptions): Promise<void> {
  const { checksum, touch } = options;
  const { size, phase } = upload.state;
  let end = phase === "committed" ? (size ?? 0) : upload.durableOffset;
  checkLength(upload, end + Number(request.headers.get("content-length") ?? 0));
  const counts = checksum === undefined;
  const bytes = new ReceivedBytes({ append: (memory, length) => upload.append(memory, length, { counts }) }, touch);
  const body = request.body[Symbol.asyncIterator]();
  try {
    for (
      let step = await within(body, upload, options);
      step.done !== true;
      step = await within(body, upload, options)
    ) {
      end += step.value.length;
      checkLength(upload, end);
      checksum?.update(step.value);
      await bytes.add(step.value);
    }
  } finally {
    await bytes.flush(); // TB1
  }
  checksum?.verify();
  await upload.count();
}

/** @throws UploadStalled */
function within(
  body: AsyncIterator<Uint8Array>,
  upload: Upload,
  { clock, stallMs }: BodyOptions,
): Promise<IteratorResult<Uint8Array>> {
  return new Promise((resolve, reject) => {
    const timer = clock.setTimer(() => {
      reject(new UploadStalled(upload.state.path, { offset: upload.durableOffset, afterMs: stallMs }));
    }, stallMs);
    body
      .next()
      .then(resolve, reject)
      .finally(() => timer.cancel());
  });
}

function checkLength({ state: { path, size } }: Upload, end: number): void {
  if (size === undefined || end <= size) return;
  throw new SluiceError(
    "invalid-argument",
    `Cannot take these bytes of "${path}": they end at ${end}, behind the ${size} bytes of its Upload-Length`,
    { reason: "UPLOAD_TOO_LONG" },
  );
}
