// h2spec: a client that breaks the rules of HTTP/2, one at a time, and looks at what our server does.
import { runCommand } from "../../../scripts/command.ts";
import type { Suite, SuiteResult } from "../suite.ts";
import { startPlainServer } from "./plain-server.ts";

/** `--strict` adds what the RFC says SHOULD be. */
export const h2specSuites: readonly Suite[] = [
  { useTls: false, isStrict: false },
  { useTls: false, isStrict: true },
  { useTls: true, isStrict: false },
  { useTls: true, isStrict: true },
].map((options) => ({
  name: `h2spec, ${options.useTls ? "TLS" : "plaintext"}${options.isStrict ? ", strict" : ""}`,
  tool: "h2spec",
  run: (tool) => runH2spec(tool, options),
}));

async function runH2spec(tool: string, options: { useTls: boolean; isStrict: boolean }): Promise<SuiteResult> {
  await using server = await startPlainServer(options);
  const words = [...(options.useTls ? ["--tls", "--insecure"] : []), ...(options.isStrict ? ["--strict"] : [])];
  const address = ["--host", "127.0.0.1", "--port", String(server.port)];
  const { output } = await runCommand([tool, ...address, ...words], { timeoutMs: 120_000 });
  const counts = /^\d+ tests, (\d+) passed, (\d+) skipped, (\d+) failed$/mu.exec(output);
  if (counts === null) return { passed: 0, failed: 1, excluded: 0, note: "did not come to its end", output };
  const [passed = 0, skipped = 0, failed = 0] = counts.slice(1).map(Number);
  // A case that h2spec skips found something missing on our side.
  return { passed, failed: failed + skipped, excluded: 0, note: "", output };
}
