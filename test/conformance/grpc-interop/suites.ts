// gRPC's interop tests: the client of grpc-go against our server, one process for each case.
import { runCommand } from "../../../scripts/command.ts";
import type { Suite, SuiteResult } from "../suite.ts";
import { CERTIFICATE, startInteropServer } from "./server.ts";

const CASES = [
  "empty_unary",
  "large_unary",
  "client_streaming",
  "server_streaming",
  "ping_pong",
  "empty_stream",
  "cancel_after_begin",
  "cancel_after_first_response",
  "timeout_on_sleeping_server",
  "custom_metadata",
  "status_code_and_message",
  "special_status_message",
  "unimplemented_method",
  "unimplemented_service",
  "pick_first_unary",
  "rpc_soak",
  "channel_soak",
] as const;

/** Case → why it is left out. */
const EXCLUDED: Readonly<Record<string, string>> = {
  compute_engine_creds: "cloud account",
  service_account_creds: "cloud account",
  jwt_token_creds: "cloud account",
  per_rpc_creds: "cloud account",
  oauth2_auth_token: "cloud account",
  google_default_credentials: "cloud account",
  compute_engine_channel_credentials: "cloud account",
  orca_per_rpc: "load reports of xDS",
  orca_oob: "load reports of xDS",
};

const SOAK = [
  "--soak_iterations=100",
  "--soak_overall_timeout_seconds=60",
  // The tests are about what comes back, not about how busy this machine is.
  "--soak_per_iteration_max_acceptable_latency_ms=10000",
];

export const interopSuites: readonly Suite[] = [
  { name: "gRPC interop, plaintext", tool: "grpc-interop-client", run: (tool) => runInterop(tool, { useTls: false }) },
  { name: "gRPC interop, TLS", tool: "grpc-interop-client", run: (tool) => runInterop(tool, { useTls: true }) },
];

async function runInterop(tool: string, options: { useTls: boolean }): Promise<SuiteResult> {
  await using server = await startInteropServer(options);
  const address = ["--server_host=127.0.0.1", `--server_port=${server.port}`];
  const tls = options.useTls ? ["--use_tls=true", "--use_test_ca=true", `--ca_file=${CERTIFICATE}`] : [];
  const failures: string[] = [];
  for (const name of CASES) {
    const words = [...address, ...tls, ...(name.endsWith("_soak") ? SOAK : []), `--test_case=${name}`];
    const { code, output } = await runCommand([tool, ...words], { timeoutMs: 90_000 });
    if (code !== 0) failures.push(`${name}: exit code ${code}\n${output}`);
  }
  const reasons = [...new Set(Object.values(EXCLUDED))].map((reason) => {
    return `${Object.values(EXCLUDED).filter((each) => each === reason).length} need ${reason}`;
  });
  return {
    passed: CASES.length - failures.length,
    failed: failures.length,
    excluded: Object.keys(EXCLUDED).length,
    note: `left out: ${reasons.join(", ")}`,
    output: failures.join("\n"),
  };
}
