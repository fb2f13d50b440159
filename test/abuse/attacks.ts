// What attackers do to HTTP/2 and gRPC servers, each in the amount that would hurt one without limits. An attack resolves
// when it has done its worst, with what became of it, and keeps what it holds: its process is ended by the test.
import * as http1 from "./attacks/http1.ts";
import * as floods from "./attacks/floods.ts";
import * as messages from "./attacks/messages.ts";
import * as stalls from "./attacks/stalls.ts";

export const attacks: Readonly<Record<string, (port: number) => Promise<string>>> = {
  ...floods,
  ...http1,
  ...messages,
  ...stalls,
};
