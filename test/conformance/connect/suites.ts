// connectconformance: its client calls our server, and our client calls its servers (Connect for Go, and grpc-go).
import { join } from "node:path";
import { runCommand } from "../../../scripts/command.ts";
import type { Suite, SuiteResult } from "../suite.ts";

/** Everything that is not ours to speak; server.yaml and client.yaml say what is. */
const OTHERS = "left out by configuration: HTTP/3, br, zstd, deflate, snappy";
const SERVER_NOTE = `${OTHERS}, Connect's streams and GET, JSON in gRPC and gRPC-Web`;
const CLIENT_NOTE = `${OTHERS}, JSON, Connect and gRPC-Web (servers only)`;

export const connectSuites: readonly Suite[] = [
  {
    name: "connectconformance server",
    tool: "connectconformance",
    run: (tool) => runConnectConformance(tool, "server", SERVER_NOTE),
  },
  {
    name: "connectconformance client",
    tool: "connectconformance",
    run: (tool) => runConnectConformance(tool, "client", CLIENT_NOTE),
  },
];

/** @param mode which of ours is tested: MODE.yaml says what it can do, MODE.ts is it */
async function runConnectConformance(tool: string, mode: "server" | "client", note: string): Promise<SuiteResult> {
  const folder = import.meta.dirname;
  const { code, output } = await runCommand(
    [
      ...([tool, "--mode", mode, "--conf", join(folder, `${mode}.yaml`)] as const),
      ...(["--", process.execPath, "--conditions=sluice-source", join(folder, `${mode}.ts`)] as const),
    ],
    { timeoutMs: 300_000 },
  );
  const counts = /^(\d+) passed, (\d+) failed$/mu.exec(output);
  if (counts === null) return { passed: 0, failed: 1, excluded: 0, note: "did not come to its end", output };
  const notRun = Number(/^Another (\d+) could not be run/mu.exec(output)?.[1] ?? 0);
  const failed = Number(counts[2]) + notRun;
  return { passed: Number(counts[1]), failed: code === 0 ? failed : Math.max(1, failed), excluded: 0, note, output };
}
