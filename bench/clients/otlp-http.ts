// OTLP/HTTP exporters over HTTP/1.1: each has connections of its own, on each one request after the other, as exporters do.

import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { fromBinary } from "@bufbuild/protobuf";
import { ExportLogsServiceResponseSchema } from "@sluice/api";

export interface HttpExportTask {
  readonly address: string;
  readonly path: string;
  readonly connections: number;
  readonly requestsPerConnection: number;
}

/** Changes a body just before it is sent. */
export interface BodyStamp {
  write(body: Buffer): void;
}

/** Where a mark of 8 bytes, in whose place something is stamped, lies in a body. */
export function placesOf(body: Buffer, mark: bigint): number[] {
  const wanted = Buffer.alloc(8);
  wanted.writeBigUInt64LE(mark);
  const places: number[] = [];
  for (let at = body.indexOf(wanted); at >= 0; at = body.indexOf(wanted, at + 8)) places.push(at);
  return places;
}

/** Opens the connections; what is returned sends all requests and resolves when all were answered well. */
export async function openHttpExport(
  task: HttpExportTask,
  bodies: readonly Buffer[],
  stamp?: BodyStamp,
): Promise<() => Promise<void>> {
  const requests = bodies.map((body) => Buffer.concat([headOf(task, body.length), body]));
  const sockets = await Promise.all(Array.from({ length: task.connections }, () => open(task.address)));
  return async () => {
    await Promise.all(sockets.map((socket) => sendAll(socket, { requests, stamp }, task.requestsPerConnection)));
    for (const socket of sockets) socket.destroy();
  };
}

function headOf({ address, path }: HttpExportTask, length: number): Buffer {
  const fields = [`host: ${address}`, "content-type: application/x-protobuf", `content-length: ${length}`];
  return Buffer.from([`POST ${path} HTTP/1.1`, ...fields, "", ""].join("\r\n"));
}

async function open(address: string): Promise<Socket> {
  const colon = address.lastIndexOf(":");
  const socket = connect({ host: address.slice(0, colon), port: Number(address.slice(colon + 1)), noDelay: true });
  await once(socket, "connect");
  return socket;
}

function sendAll(
  socket: Socket,
  { requests, stamp }: { readonly requests: readonly Buffer[]; readonly stamp: BodyStamp | undefined },
  count: number,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let sent = 0;
  let received: Buffer = Buffer.alloc(0);
  const sendNext = (): void => {
    if (sent === count) resolve();
    else {
      const request = requests[sent++ % requests.length] ?? Buffer.alloc(0);
      if (stamp === undefined) {
        socket.write(request);
        return;
      }
      stamp.write(request);
      // The next one to send it stamps it anew, maybe before the socket has taken it.
      socket.write(Buffer.from(request));
    }
  };
  socket.on("error", reject).on("close", () => reject(new Error("The server closed a connection")));
  socket.on("data", (bytes: Buffer) => {
    received = received.length === 0 ? bytes : Buffer.concat([received, bytes]);
    try {
      if (!isWholeAnswer(received)) return;
    } catch (error) {
      reject(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    received = Buffer.alloc(0);
    sendNext();
  });
  sendNext();
  return promise;
}

/** @throws Error for an answer that is none of all records taken */
function isWholeAnswer(bytes: Buffer): boolean {
  const end = bytes.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = bytes.toString("latin1", 0, end);
  const length = Number(/^content-length: *(\d+)/im.exec(head)?.[1] ?? "0");
  const body = bytes.subarray(end + 4);
  if (body.length < length) return false;
  if (!/^HTTP\/1\.1 20[04] /u.test(head)) throw new Error(`A request was answered by ${head}\n${body.toString()}`);
  const { partialSuccess } = fromBinary(ExportLogsServiceResponseSchema, body);
  if (partialSuccess !== undefined) throw new Error(`Records were rejected: ${partialSuccess.errorMessage}`);
  return true;
}
