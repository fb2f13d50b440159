// What a process of the experiment says to the one that started it: a line of JSON each.
import { once } from "node:events";

export async function tell(message: object): Promise<void> {
  if (!process.stdout.write(`${JSON.stringify(message)}\n`)) await once(process.stdout, "drain");
}
