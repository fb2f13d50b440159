// Safe by default: a server that asks nobody who they are is reachable from its own machine only.
import { lookup } from "node:dns/promises";
import { BlockList, isIP } from "node:net";
import { SluiceError } from "../errors.ts";

/** The server would be open to others although nobody has to say who they are. To recover: see the message. */
export class ExposedListen extends SluiceError {
  override readonly name = "ExposedListen";
  constructor(host: string) {
    super(
      "failed-precondition",
      `Cannot listen on ${host}: others can reach it and nobody has to say who they are; ` +
        "listen on 127.0.0.1, or allow it with --insecure-listen",
      { reason: "EXPOSED_LISTEN" },
    );
  }
}

const loopback = new BlockList();
loopback.addSubnet("127.0.0.0", 8, "ipv4");
loopback.addAddress("::1", "ipv6");
loopback.addSubnet("::ffff:127.0.0.0", 104, "ipv6");

/** True for an IP address that only this machine reaches. */
export function isLoopback(address: string): boolean {
  const family = isIP(address);
  return family !== 0 && loopback.check(address, family === 4 ? "ipv4" : "ipv6");
}

/**
 * The IP address to listen on for a host name: resolved here, once, so that what was checked is what is bound.
 * @throws ExposedListen when it is no loopback address and `insecureListen` is false; SluiceError for an unknown name.
 */
export async function resolveListenAddress(host: string, options: { insecureListen: boolean }): Promise<string> {
  const address = isIP(host) === 0 ? await addressOf(host) : host;
  if (!options.insecureListen && !isLoopback(address)) {
    throw new ExposedListen(address === host ? host : `${host} (${address})`);
  }
  return address;
}

async function addressOf(host: string): Promise<string> {
  try {
    return (await lookup(host)).address;
  } catch (error) {
    const message = `Cannot listen on ${host}: this machine knows no address of that name; listen on an IP address of it`;
    throw new SluiceError("failed-precondition", message, { reason: "CANNOT_LISTEN" }, { cause: error });
  }
}
