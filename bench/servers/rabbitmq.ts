// RabbitMQ as a peer: one node, with an epmd of its own, all of it on the loopback. Its schedulers do not spin while they wait, as its
// documentation advises where others use the same cores.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { freePort, parseForeignOptions, runForeignServer } from "./foreign-server.ts";

/** Debian's own script in PATH would change to another user. */
const PROGRAM = "/usr/lib/rabbitmq/bin/rabbitmq-server";

const { version, parentFolder } = parseForeignOptions();

await runForeignServer({
  name: "rabbitmq",
  version,
  parentFolder,
  prepare: async ({ folder, port }) => {
    await mkdir(join(folder, "log"));
    await writeFile(join(folder, "plugins"), "[].\n");
    await writeFile(join(folder, "rabbitmq.conf"), `listeners.tcp.1 = 127.0.0.1:${port}\nlog.console = false\n`);
    const epmdPort = `${await freePort()}`;
    const environment = {
      // Of the cookie.
      HOME: folder,
      ERL_EPMD_PORT: epmdPort,
      RABBITMQ_NODENAME: `bench-${port}@localhost`,
      RABBITMQ_DIST_PORT: `${await freePort()}`,
      RABBITMQ_CONF_ENV_FILE: "/dev/null",
      RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "plugins"),
      RABBITMQ_MNESIA_BASE: join(folder, "mnesia"),
      RABBITMQ_LOG_BASE: join(folder, "log"),
      RABBITMQ_PID_FILE: join(folder, "pid"),
      RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS:
        "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none",
    };
    const epmd = { command: "epmd", arguments: ["-address", "127.0.0.1", "-port", epmdPort] };
    return { command: PROGRAM, arguments: [], environment, helpers: [epmd] };
  },
});
