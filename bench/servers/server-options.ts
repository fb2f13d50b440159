// What every server of the benchmark that runs on Node is told, and what it says.

import { readFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { findPackageJSON } from "node:module";
import { parseArgs } from "node:util";

export interface ServerOptions {
  /** On 127.0.0.1; 0 picks a free one. */
  readonly port: number;
  /** Entries that a StreamLogs without follow answers with. */
  readonly count: number;
  /** The stored entries as gRPC frames. */
  readonly frames: Buffer;
  /** Folder that written entries are appended in; undefined: they are dropped after the followers have them. */
  readonly data: string | undefined;
  /** Folder that DownloadFile reads from. */
  readonly files: string;
  /** "plain" or "encoded". */
  readonly form: string;
  /** Certificate and key in PEM: the port speaks TLS. */
  readonly tls: { readonly cert: Buffer; readonly key: Buffer } | undefined;
}

export function parseServerOptions(): ServerOptions {
  const { values } = parseArgs({
    options: {
      port: { type: "string", default: "0" },
      count: { type: "string", default: "1000000" },
      entries: { type: "string" },
      data: { type: "string" },
      files: { type: "string", default: "" },
      form: { type: "string", default: "plain" },
      certificate: { type: "string" },
      key: { type: "string" },
    },
  });
  const { certificate, key } = values;
  return {
    port: Number(values.port),
    count: Number(values.count),
    frames: values.entries === undefined ? Buffer.alloc(0) : readFileSync(values.entries),
    data: values.data,
    files: values.files,
    form: values.form,
    tls:
      certificate === undefined || key === undefined
        ? undefined
        : { cert: readFileSync(certificate), key: readFileSync(key) },
  };
}

/** The messages of a run of gRPC frames, without their prefixes. */
export function messagesOf(frames: Buffer): Buffer[] {
  const messages: Buffer[] = [];
  for (let at = 0; at < frames.length;) {
    const end = at + 5 + frames.readUInt32BE(at + 1);
    messages.push(frames.subarray(at + 5, end));
    at = end;
  }
  return messages;
}

/** Says what serves, and where. */
export function announce(version: string, address: string | AddressInfo | null): void {
  const port = typeof address === "object" ? address?.port : address?.slice(address.lastIndexOf(":") + 1);
  process.stderr.write(`version ${version}\nlistening 127.0.0.1:${port}\n`);
}

/** The version of an installed package. */
export function versionOf(packageName: string): string {
  const file = findPackageJSON(packageName, import.meta.url);
  if (file === undefined) throw new Error(`${packageName} is not installed`);
  return (JSON.parse(readFileSync(file, "utf8")) as { version: string }).version;
}
