// `sluice serve`: the server, until Ctrl-C or SIGTERM.
import { Command } from "commander";
import type { CommandContext } from "../output.ts";
import { drain, startServer, untilStopped } from "./run-server.ts";
import { addSettingOptions, loadCommandConfig } from "./settings-options.ts";

export function serveCommand(context: CommandContext): Command {
  const command = addSettingOptions(new Command("serve"))
    .description(
      'Runs the server. It says "listening on HOST:PORT" on stderr when it serves.\n' +
        "SIGTERM or Ctrl-C: no new calls, follows are ended, open calls get the drain grace, exit code 0. A second one ends it at once.\n" +
        "Each setting can also stand in the environment or in sluice.yaml; a flag wins over both.\n" +
        'Besides those below there are the limits of HTTP/2, HTTP/1.1 and gRPC: "sluice config show" lists all.',
    )
    .action(async () => {
      const loaded = await loadCommandConfig(command, context);
      const running = await startServer(loaded, context);
      await untilStopped(context);
      await drain(running, loaded.config, context);
    });
  return command;
}
