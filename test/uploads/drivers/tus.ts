// Uploads by tus 1.0 over HTTP/1.1, as the protocol has them and no client of ours.
import { createHash } from "node:crypto";
import { createHttpClient, type HttpAnswer, type HttpFields } from "../../support/http-client.ts";
import { type FaultKind, type OpenDriver, type UploadDriver, UploadFault } from "../upload-driver.ts";

const VERSION = { "tus-resumable": "1.0.0" };

const FAULTS: Readonly<Record<number, FaultKind>> = {
  404: "gone",
  409: "offset",
  423: "in-use",
  460: "checksum",
};

/** What `start` returns is the upload's path: "/uploads/EqeLGHBvTuGL2MRHa0-XGQ". */
export const openTusDriver: OpenDriver = (address): UploadDriver => {
  const http = createHttpClient(address, { version: 1 });
  /** @throws UploadFault for what is no success */
  const check = (answer: HttpAnswer): HttpAnswer => {
    if (answer.status >= 400) throw faultOf(answer);
    return answer;
  };
  const ask = async (method: string, path: string, headers: HttpFields = {}): Promise<HttpAnswer> =>
    check(await http.ask(method, path, { ...VERSION, ...headers }).catch(interrupted));

  return {
    name: "tus",
    abilities: {
      checksPieces: true,
      checksWhole: true,
      knowsSize: true,
      skipsDuplicates: false,
      aborts: true,
      commitsWithLastByte: true,
    },
    async start(path, { size, sha256 }) {
      const said = { path, ...(sha256 === undefined ? {} : { sha256 }) };
      const metadata = Object.entries(said).map(([key, value]) => `${key} ${Buffer.from(value).toString("base64")}`);
      const headers = { "upload-length": String(size), "upload-metadata": metadata.join(",") };
      return (await ask("POST", "/uploads/", headers)).headers["location"]!;
    },
    send(upload, offset, { checksum } = {}) {
      const open = (at: number, more: HttpFields) =>
        http.open("PATCH", upload, {
          ...VERSION,
          "content-type": "application/offset+octet-stream",
          "upload-offset": String(at),
          ...more,
        });
      const offsetOf = (answer: HttpAnswer): number => Number(check(answer).headers["upload-offset"]);
      if (checksum === undefined) {
        const request = open(offset, {});
        return {
          write: (bytes) => request.write(bytes),
          end: async () => offsetOf(await request.end().catch(interrupted)),
          cut: () => request.cut(),
        };
      }
      // The checksum goes ahead of its bytes: each piece is a request of its own.
      let at = offset;
      let failure: Error | undefined;
      let current: ReturnType<typeof open> | undefined;
      return {
        async write(bytes) {
          if (failure !== undefined) return;
          const sum = createHash("sha256")
            .update(checksum === "wrong" ? "other" : bytes)
            .digest("base64");
          const headers = { "upload-checksum": `sha256 ${sum}`, "content-length": String(bytes.length) };
          current = open(at, headers);
          try {
            await current.write(bytes);
            at = offsetOf(await current.end().catch(interrupted));
          } catch (error) {
            failure = error as Error;
          }
        },
        end() {
          if (failure !== undefined) return Promise.reject(failure);
          return Promise.resolve(at);
        },
        cut: () => current?.cut(),
      };
    },
    async status(upload) {
      const answer = await http.ask("HEAD", upload, VERSION).catch(interrupted);
      if (answer.status === 404) return "gone";
      const { "upload-offset": offset, "upload-length": length } = check(answer).headers;
      return { offset: Number(offset), isCommitted: offset === length };
    },
    async commit(upload) {
      const { headers } = await ask("HEAD", upload);
      if (headers["upload-offset"] === headers["upload-length"]) return;
      const { "upload-offset": offset, "upload-length": length } = headers;
      throw new UploadFault("incomplete", `${offset} of ${length} bytes are there`);
    },
    async abort(upload) {
      await ask("DELETE", upload);
    },
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
};

function faultOf({ status, headers, body }: HttpAnswer): UploadFault {
  const text = `${status} ${body.toString().trim()}`;
  const retryAfterMs = headers["retry-after"] === undefined ? undefined : Number(headers["retry-after"]) * 1000;
  return new UploadFault(FAULTS[status] ?? unavailable(status, text), text, { retryAfterMs });
}

function unavailable(status: number, text: string): FaultKind {
  if (status !== 503) return "other";
  if (text.includes("the disk is full")) return "disk-full";
  return text.includes("stood still") ? "stalled" : "other";
}

/** @throws UploadFault */
function interrupted(error: unknown): never {
  throw new UploadFault("interrupted", error instanceof Error ? error.message : String(error), { cause: error });
}
