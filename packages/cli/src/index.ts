// What programs may use of the command line: to run one of its commands in their own process.
export { EXIT, type ExitCode } from "./exit-codes.ts";
export { run } from "./main.ts";
export type { CommandContext } from "./output.ts";
