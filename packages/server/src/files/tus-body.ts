// The body of a request on its way into an upload.
import type { HttpRequest } from "@sluice/rpc";
import { uploadTooLong } from "./file-errors.ts";
import type { RequestChecksum } from "./tus-request.ts";
import { Receiving, type ReceivingSurroundings } from "./uploads/receiving.ts";
import type { Throttle } from "./uploads/throttle.ts";
import type { Upload } from "./uploads/upload.ts";

/**
 * Resolves when all of it is durable. However it ends, what came before is written, and counts unless it has a checksum to wait for.
 * @param upload that the caller uses alone
 * @throws UploadStalled, NoSpaceForUpload, ChecksumMismatch, InvalidRequest (too long); what ended the request
 */
export async function receiveBody(
  { headers, body, signal }: HttpRequest,
  upload: Upload,
  options: Omit<ReceivingSurroundings, "throttle"> & {
    readonly checksum: RequestChecksum | undefined;
    readonly openThrottle: () => Throttle;
  },
): Promise<void> {
  const { checksum } = options;
  checkLength(upload, upload.durableOffset + Number(headers.get("content-length") ?? 0));
  const throttle = options.openThrottle();
  // Whatever else waits for the body hears from that.
  if (signal.aborted) throttle.stop();
  else signal.addEventListener("abort", () => throttle.stop(), { once: true });
  const receiving = new Receiving<Uint8Array>(upload, {
    ...options,
    throttle,
    incoming: body[Symbol.asyncIterator](),
    bytesOf(bytes, end) {
      checkLength(upload, end + bytes.length);
      checksum?.update(bytes);
      return bytes;
    },
    counts: checksum === undefined,
  });
  await receiving.run(new Uint8Array());
  checksum?.verify();
  await upload.count();
}

function checkLength({ state: { size } }: Upload, end: number): void {
  if (size !== undefined && end > size) throw uploadTooLong("body", end, size);
}
