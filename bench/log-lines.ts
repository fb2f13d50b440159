// Log entries as services write them, for scenarios that search: several services and levels, a dozen kinds of messages,
// identifiers and numbers that are nearly all different; and the same as lines of text, for programs that search files.

import { create, toBinary } from "@bufbuild/protobuf";
import { LogEntrySchema } from "@sluice/api";
import { grpcFrame } from "./clients/http2-wire.ts";

const services = 20;
/** Of each ten entries; two of them are warnings or worse. */
const levels = ["DEBUG", "INFO", "INFO", "INFO", "INFO", "INFO", "INFO", "DEBUG", "WARN", "ERROR"];
/** One of the services, and a level: one entry in a hundred has both. */
export const selective = { application: "service-07", logLevel: "WARN", share: 1 / 100 };

export interface LogLines {
  /** gRPC frames, one after the other. */
  readonly frames: Buffer;
  /** The same entries, a line each. */
  readonly text: Buffer;
}

/** The same for every call. */
export function makeLogLines(count: number): LogLines {
  const random = new Random(1);
  const frames: Buffer[] = [];
  const lines: string[] = [];
  for (let i = 0; i < count; i++) {
    const level = levels[random.below(levels.length)]!;
    const application = `service-${String(random.below(services)).padStart(2, "0")}`;
    const message = makeMessage(random);
    const fields = {
      trace_id: random.hex(32),
      user: `u-${random.below(1e6)}`,
      status: String(200 + random.below(400)),
    };
    const timestamp = 1_770_000_000_000_000_000n + BigInt(i) * 1_000_000n;
    const entry = create(LogEntrySchema, { timestamp, level, application, message, fields });
    frames.push(grpcFrame(toBinary(LogEntrySchema, entry)));
    const rest = Object.entries(fields).map(([key, value]) => `${key}=${value}`);
    lines.push([timestamp, level, application, message, ...rest].join(" "), "\n");
  }
  return { frames: Buffer.concat(frames), text: Buffer.from(lines.join("")) };
}

function makeMessage(random: Random): string {
  const ms = random.below(2000);
  const ip = `10.${random.below(256)}.${random.below(256)}.${random.below(256)}`;
  switch (random.below(12)) {
    case 0:
    case 1:
    case 2:
      return `GET /api/v1/orders/${random.below(1e7)} took ${ms} ms, 200 OK, ${random.below(9000)} bytes sent to ${ip}`;
    case 3:
      return `POST /api/v1/payments took ${ms} ms, 201 Created, payment ${random.hex(12)}`;
    case 4:
      return `connection from ${ip}:${random.below(65_536)} accepted, ${random.below(400)} open`;
    case 5:
      return `cache miss for key session:${random.hex(16)}, loaded in ${ms} ms`;
    case 6:
      return `query "select * from carts where id = $1" took ${ms} ms, ${random.below(50)} rows`;
    case 7:
      return `retrying upload of part ${random.below(1000)} to bucket archive-${random.below(9)}: connection reset by peer`;
    case 8:
      return `job ${random.hex(8)} finished after ${ms} ms with ${random.below(5)} warnings`;
    case 9:
      return `user u-${random.below(1e6)} logged in from ${ip} with a token that expires in ${random.below(3600)} s`;
    case 10:
      return `heap at ${random.below(900)} MB of 1024 MB, ${random.below(60)} ms in garbage collection`;
    default:
      return `queue mail has ${random.below(5000)} messages, the oldest is ${ms} ms old`;
  }
}

/** xorshift32 (Marsaglia): the same numbers everywhere. */
class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed;
  }

  below(bound: number): number {
    let state = this.#state;
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    this.#state = state;
    return (state >>> 0) % bound;
  }

  hex(digits: number): string {
    let text = "";
    while (text.length < digits) text += this.below(0x1_0000).toString(16).padStart(4, "0");
    return text.slice(0, digits);
  }
}
