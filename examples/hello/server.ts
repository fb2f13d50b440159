import { createServer, listen, serve, serveReflection } from "@sluice/rpc";
import { GreeterService } from "./gen/hello_pb.ts";

const greeter = serve(GreeterService, {
  greet: ({ name }) => ({ text: `Hello, ${name}!` }),
  async *greetAll(requests) {
    for await (const { name } of requests) yield { text: `Hello, ${name}!` };
  },
});

const server = createServer({ services: [greeter, ...serveReflection([greeter])] });
const listener = await listen(server, { port: Number(process.argv[2] ?? 50_051) });
console.log(`listening on ${listener.address}`);
process.once("SIGINT", () => void listener.drain());
