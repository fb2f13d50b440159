import { createClient, openChannel } from "@sluice/rpc";
import { GreeterService } from "./gen/hello_pb.ts";

const [address = "127.0.0.1:50051", ...names] = process.argv.slice(2);
async function* requests() {
  for (const name of names) yield { name };
}

await using channel = openChannel(address);
const greeter = createClient(GreeterService, channel);
const { text } = await greeter.greet({ name: "world" }, { timeoutMs: 1_000 });
console.log(text);
for await (const answer of greeter.greetAll(requests())) console.log(answer.text);
