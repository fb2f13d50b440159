// What a client reads of trailers and a server of headers: status, percent-encoded text, google.rpc.Status, binary metadata,
// timeouts.
//
// S1. Reading never fails: a damaged status is still a status, damaged details are none.
// S2. A status that our server writes is read as it was meant, in any Unicode, within what it may be long.
// S3. A timeout that is read is what the protocol's grammar says, and one that is written is never less than what was meant.
import { createServer, errorDetail, RetryInfoSchema, retryDelayMs, RpcError, serve } from "@sluice/rpc";
import { formatTimeout, parseTimeout } from "../../../packages/rpc/src/grpc/deadline.ts";
import { Metadata } from "../../../packages/rpc/src/grpc/metadata.ts";
import { createRoutes, requestHead } from "../../../packages/rpc/src/grpc/routes.ts";
import { Code, retryAfter } from "../../../packages/rpc/src/grpc/status.ts";
import { errorFields, readStatus, refuseResponse } from "../../../packages/rpc/src/grpc/status-wire.ts";
import { parseWebFormat } from "../../../packages/rpc/src/web/grpc-web.ts";
import { EchoService } from "../../rpc/gen/echo_pb.ts";
import { echoHandlers } from "../echo.ts";
import { textLines } from "../grammar.ts";
import { Random } from "../random.ts";
import type { Input, Target } from "../target.ts";

const SERVICES = [serve(EchoService, echoHandlers)];
const ROUTES = createRoutes(createServer({ services: SERVICES }).services, undefined);
const MESSAGE_CHARACTERS_MAX = 1024;

function fieldsOf(bytes: Buffer): string[] {
  const fields: string[] = [];
  for (const line of bytes.toString("latin1").split("\n")) {
    const at = line.indexOf(": ");
    fields.push(at < 0 ? line : line.slice(0, at), at < 0 ? "" : line.slice(at + 2));
  }
  return fields;
}

function run({ bytes, salt }: Input): void {
  const fields = fieldsOf(bytes);
  checkReading(fields);
  checkWriting(bytes, new Random(salt));
  for (let at = 1; at < fields.length; at += 2) checkTimeout(fields[at]!);
}

/** S1 */
function checkReading(fields: readonly string[]): void {
  const status = readStatus({ fields, memo: undefined });
  if (status === undefined && fields.some((name, at) => at % 2 === 0 && name === "grpc-status")) {
    throw new Error("a status was overlooked");
  }
  const { error } = status ?? {};
  if (error !== undefined) {
    if (!(error.code >= 1 && error.code <= 16)) throw new Error(`code ${error.code}`);
    const delayMs = retryDelayMs(error);
    if (delayMs !== undefined && !(delayMs >= 0)) throw new Error(`a retry after ${delayMs} ms`);
    // What was read can be passed on.
    errorFields(new RpcError(error.code, error.message, { details: error.details }), undefined);
  }
  const metadata = Metadata.received(fields);
  for (const [name] of metadata) {
    if (name.endsWith("-bin")) metadata.getAllBinary(name);
    else metadata.getAll(name);
  }
  refuseResponse({ fields, memo: undefined });
  const head = requestHead({ fields, memo: undefined }, ROUTES);
  if (head.refusal === undefined && head.route?.handler === undefined) throw new Error("neither served nor refused");
  for (let at = 1; at < fields.length; at += 2) parseWebFormat(fields[at]!);
}

/** S2 */
function checkWriting(bytes: Buffer, random: Random): void {
  const text = random.oneIn(2) ? bytes.toString("utf8") : bytes.toString("utf16le");
  const details = random.oneIn(2) ? [retryAfter(random.below(1e6)), errorDetail(RetryInfoSchema, {})] : [];
  const meant = new RpcError((1 + random.below(16)) as Code, text, { details });
  const fields = errorFields(meant, undefined);
  if (fields.some((field) => /[^\x20-\x7e]/.test(field))) throw new Error(`not ASCII: ${JSON.stringify(fields)}`);
  const { error } = readStatus({ fields, memo: undefined })!;
  const shown = text.length > MESSAGE_CHARACTERS_MAX ? `${text.slice(0, MESSAGE_CHARACTERS_MAX - 1)}…` : text;
  if (error?.code !== meant.code || error.message !== shown.toWellFormed()) {
    throw new Error(`${JSON.stringify(error?.message)}, not ${JSON.stringify(shown)}`);
  }
  if (text.length < 300 && error.details.length !== details.length) throw new Error("details were lost");
}

/** S3 */
function checkTimeout(text: string): void {
  const ms = parseTimeout(text);
  if ((ms !== undefined) !== /^[0-9]{1,8}[HMSmun]$/.test(text)) throw new Error(`timeout ${JSON.stringify(text)}`);
  if (ms === undefined || ms <= 0) return;
  const again = parseTimeout(formatTimeout(ms));
  if (again === undefined || again < ms * (1 - 1e-9)) throw new Error(`${text} became ${formatTimeout(ms)}`);
}

const STATUS = `grpc-status: 5
grpc-message: not found: 100%25 %E2%9C%93
grpc-status-details-bin: CAUSC25vdCB0aGVyZQ
x-late-bin: AAEC,/w==
x-text: some text
`;
const REQUEST = `:method: POST
:scheme: http
:path: /sluice.test.v1.EchoService/Echo
:authority: test
content-type: application/grpc+proto
te: trailers
grpc-timeout: 100m
grpc-encoding: gzip
grpc-accept-encoding: identity,gzip
`;

export const status: Target = {
  name: "status",
  about: "status, details, metadata and timeouts in header fields",
  weight: 15,
  open: async () => {
    const written = errorFields(
      new RpcError(Code.UNAVAILABLE, "Wörter ✓", { details: [retryAfter(1500)] }),
      new Metadata({ "x-bytes-bin": Uint8Array.of(0, 255) }),
    );
    const ours = written.map((text, at) => (at % 2 === 0 ? `${text}: ` : `${text}\n`)).join("");
    const corpus = [STATUS, REQUEST, ours, ":status: 200\ncontent-type: application/grpc\n"];
    const extras = ["99999999H", "0n", "1S", "100000000S", "%", "%4", "%zz%C3%28", "=", "application/grpc-web-text; q"];
    return {
      grammar: textLines,
      corpus: corpus.map((text) => Buffer.from(text, "latin1")),
      extras: extras.map((value) => Buffer.from(`grpc-timeout: ${value}\ngrpc-message: ${value}\n`, "latin1")),
      run,
    };
  },
};
