// What container runtimes put around the lines of a program: Docker's JSON files, and CRI's form, which Kubernetes reads.
//
// Sources: https://docs.docker.com/engine/logging/drivers/json-file/ and
// https://github.com/kubernetes/design-proposals-archive/blob/main/node/kubelet-cri-logging.md
import { findTimestamp } from "./timestamp.ts";

/** A line of a program, or a piece of one, out of its wrapping. */
export interface ContainerLine {
  readonly format: "docker" | "cri";
  /** "stdout" or "stderr". */
  readonly stream: string;
  /** When the runtime read it, as it wrote that. */
  readonly time: string;
  /** Unix ns. */
  readonly timestamp: bigint;
  readonly text: string;
  /** The program's line goes on in the stream's next one: runtimes cut at 16 KiB. */
  readonly isPartial: boolean;
  /** Docker's labels and environment, where it was told to add them. */
  readonly attributes: Readonly<Record<string, string>>;
}

const CRI =
  /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)) (stdout|stderr) ([FP])(?::[^ ]*)?(?: (.*))?$/su;
const DOCKER = /^\{"log":"/u;

/** Takes the wrapping off; undefined: there is none. */
export function unwrapContainerLine(text: string): ContainerLine | undefined {
  return DOCKER.test(text) ? unwrapDocker(text) : unwrapCri(text);
}

function unwrapCri(text: string): ContainerLine | undefined {
  const match = CRI.exec(text);
  if (match === null) return undefined;
  const [, time = "", stream = "", tag, content = ""] = match;
  const timestamp = findTimestamp(time);
  if (timestamp === undefined) return undefined;
  return { format: "cri", stream, time, timestamp, text: content, isPartial: tag === "P", attributes: {} };
}

function unwrapDocker(text: string): ContainerLine | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null || !("log" in value && "stream" in value && "time" in value)) {
    return undefined;
  }
  const { log, stream, time, attrs, ...others } = value as Record<string, unknown>;
  if (typeof log !== "string" || typeof stream !== "string" || typeof time !== "string") return undefined;
  const attributes = attrs === undefined ? {} : textsOf(attrs);
  const timestamp = findTimestamp(time);
  if (timestamp === undefined || attributes === undefined || Object.keys(others).length > 0) return undefined;
  const isPartial = !log.endsWith("\n");
  return {
    format: "docker",
    stream,
    time,
    timestamp,
    text: log.replace(/\r?\n$/u, ""),
    isPartial,
    attributes,
  };
}

function textsOf(value: unknown): Record<string, string> | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const entries = Object.entries(value);
  return entries.every((entry): entry is [string, string] => typeof entry[1] === "string")
    ? Object.fromEntries(entries)
    : undefined;
}
