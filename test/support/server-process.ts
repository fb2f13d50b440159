// A real server, in a process of its own, on a real socket and real files.
import { type CliOptions, type CliProcess, startCli } from "./cli-process.ts";

export interface ServerProcess extends CliProcess {
  /** "127.0.0.1:41234". */
  readonly address: string;
}

/** `sluice serve` on a free port of 127.0.0.1, with its data in `options.folder`/data. Resolves when it serves. */
export async function startServer(words: readonly string[], options: CliOptions): Promise<ServerProcess> {
  const cli = startCli(["serve", "--listen", "127.0.0.1:0", ...words], options);
  try {
    const [, address = ""] = await cli.waitFor("stderr", /^listening on (\S+)$/mu);
    return { ...cli, address };
  } catch (error) {
    await cli[Symbol.asyncDispose]();
    throw error;
  }
}
