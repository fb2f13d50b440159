// What somebody gets who calls an address.
import { LogService } from "@sluice/api";
import { type ChannelOptions, Code, createClient, openChannel, RpcError } from "@sluice/rpc";

/** "OK", or the name of the code with which a call to the log service fails. */
export async function outcomeAt(address: string, options: ChannelOptions = {}): Promise<string> {
  await using channel = openChannel(address, options);
  try {
    await createClient(LogService, channel).listApplications({});
    return "OK";
  } catch (error) {
    if (!(error instanceof RpcError)) throw error;
    return Object.entries(Code).find(([, code]) => code === error.code)?.[0] ?? String(error.code);
  }
}
