// One large file, from the page cache, over one stream.

import { mkdir, open } from "node:fs/promises";
import { join } from "node:path";
import { create, toBinary } from "@bufbuild/protobuf";
import { FileRequestSchema } from "@sluice/api";
import { connect } from "@sluice/client";
import { grpcFrame } from "../clients/http2-wire.ts";
import { takeTurns, withServers, type Server } from "../contest.ts";
import { findH2load, runH2load } from "../h2load.ts";
import { writeLargeFile } from "../large-file.ts";
import { findNginx, findPeer, type PeerName } from "../peers.ts";
import { partEntrants, versionsOf, type Scenario, type ScenarioContext } from "../scenario.ts";
import { ourVersion, sluice, us } from "../sluice-server.ts";

const peers: readonly PeerName[] = ["node:http2", "grpc-js", "grpc-go", "tonic"];
const nginx = "nginx";
const file = "large.bin";
const method = "/FileService/DownloadFile";
const bytesPerMb = 1e6;
const timeoutMs = 120_000;

export const filesDownload: Scenario = {
  name: "files-download",
  summary: "one file in chunks of 256 KiB over one stream, from the page cache, beside nginx; MB/s",
  async run(context) {
    const h2load = await findH2load();
    if (h2load === undefined) throw new Error("files-download needs h2load (Debian: nghttp2-client)");
    const files = join(context.folder, "files");
    await mkdir(files);
    const size = (context.isQuick ? 256 : 1024) * 2 ** 20;
    await writeLargeFile(join(files, file), size);
    const options = { entriesFile: context.entriesFile, count: 1, files };
    const { contestants, missing } = partEntrants([
      ...(await Promise.all(peers.map((who) => findPeer(who, options)))),
      await findNginx(files, { http1: false }),
    ]);
    const settings = ["--files", files];
    return await withServers([sluice(join(context.folder, "data"), { settings }), ...contestants], async (servers) => {
      const [ours] = servers;
      await verifyOurs(ours!, size);
      const whole = await takeTurns(servers, context.runs, async (server) => {
        context.say(`known checksum: ${server.who}`);
        return size / bytesPerMb / (await download(context, server, { size, skip: 0 }));
      });
      // A part has no checksum that could be known.
      const computed = await takeTurns([ours!], context.runs, async (server) => {
        context.say(`computed checksum: ${server.who}`);
        return size / bytesPerMb / (await download(context, server, { size, skip: 1 }));
      });
      return {
        scenario: "files-download",
        runs: context.runs,
        versions: { ...versionsOf(servers), [us]: ourVersion, h2load },
        missing,
        cases: [
          { title: `${size / 2 ** 20} MiB, its checksum known`, unit: "MB/s", measured: whole, notes: [] },
          {
            title: "all but its first byte, the checksum computed beside",
            unit: "MB/s",
            measured: computed,
            notes: [],
          },
        ],
        notes: [
          "the client is h2load -n1 -c1 -m1; our answer was read before by our SDK, every chunk's CRC-32 and the SHA-256 verified",
          "ours: the real server; each chunk is of the version that the call began with, and says its place, the size and the etag",
          "node:http2, grpc-js, grpc-go and tonic read one chunk ahead into memory, as ours does, and verify nothing; nginx answers GET by sendfile",
        ],
      };
    });
  },
};

async function verifyOurs({ process: { address } }: Server, size: number): Promise<void> {
  await using client = connect(address);
  let received = 0;
  for await (const bytes of client.downloadFile(file)) received += bytes.length;
  if (received !== size) throw new Error(`${received} bytes came, not ${size}`);
}

/** Returns seconds. @throws Error unless at least the file's bytes came, and hardly more */
async function download(
  { folder }: ScenarioContext,
  { who, process: { address } }: Server,
  { size, skip }: { readonly size: number; readonly skip: number },
): Promise<number> {
  const message = toBinary(FileRequestSchema, create(FileRequestSchema, { filePath: file, offset: BigInt(skip) }));
  const bodyFile = join(folder, "download.bin");
  await using body = await open(bodyFile, "w");
  await body.write(grpcFrame(message));
  const load = { address, requests: 1, connections: 1, inFlightPerConnection: 1, timeoutMs };
  const { seconds, statusOk, dataBytes } = await runH2load(
    who === nginx ? { ...load, path: `/${file}` } : { ...load, path: method, bodyFile },
  );
  const wanted = size - skip;
  if (statusOk !== 1 || dataBytes < wanted || dataBytes > wanted * 1.01) {
    throw new Error(`${who} answered ${dataBytes} bytes, not ${wanted}`);
  }
  return seconds;
}
