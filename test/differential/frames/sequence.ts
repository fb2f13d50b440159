// One sequence of steps, said to both sides, with the state of each stream as their answers show it.
import { Flag, FrameType } from "../../../packages/rpc/src/http2/frame.ts";
import { parseFrames } from "../../../packages/rpc/src/http2/testing/frames.ts";
import type { Conversation, Side } from "./side.ts";
import type { State, Step } from "./steps.ts";

export interface Comparison {
  readonly ours: string;
  readonly node: string;
  readonly isOver: boolean;
}

export class Sequence implements AsyncDisposable {
  readonly #ours: Conversation;
  readonly #node: Conversation;
  readonly #states = new Map<number, State>();

  private constructor(ours: Conversation, node: Conversation) {
    this.#ours = ours;
    this.#node = node;
  }

  static async open(ours: Side, node: Side): Promise<Sequence> {
    return new Sequence(await ours.open(), await node.open());
  }

  stateOf(streamId: number): State {
    return this.#states.get(streamId) ?? "idle";
  }

  /** Those in which any stream is. */
  states(): State[] {
    return ["idle", ...this.#states.values()];
  }

  /** Says it to both. Where they agree, their answer moves the stream's state. */
  async take(step: Step, streamId: number): Promise<Comparison> {
    const bytes = step.bytes(streamId);
    const [ours, node] = await Promise.all([this.#ours.say(bytes), this.#node.say(bytes)]);
    if (ours.text === node.text && step.about !== "connection") this.#move(streamId, bytes, ours.text);
    // Only the step's own stream is ever reset: its number says nothing.
    const plain = (text: string): string => text.replaceAll(` on ${streamId}`, "");
    return { ours: plain(ours.text), node: plain(node.text), isOver: ours.isOver || node.isOver };
  }

  #move(streamId: number, bytes: Buffer, outcome: string): void {
    const after = stateAfter(this.stateOf(streamId), outcome.split(", "), bytes);
    if (after === "idle") return;
    this.#states.set(streamId, after);
    // Whoever opens a stream closes the idle ones before it (RFC 9113 §5.1.1).
    for (let id = 1; id < streamId; id += 2) if (this.stateOf(id) === "idle") this.#states.set(id, "closed by both");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ours[Symbol.dispose]();
    this.#node[Symbol.dispose]();
  }
}

function stateAfter(before: State, answers: readonly string[], bytes: Buffer): State {
  const said = (what: string): boolean => answers.some((each) => each.startsWith(what));
  if (said("stream error NO_ERROR")) return "answered early";
  if (said("stream error")) return "reset by the server";
  if (said("reset")) return "reset by the client";
  if (before === "idle" && !said("request")) return "idle";
  switch (before) {
    case "idle":
    case "open":
      if (!said("end") && !said("trailers")) return "open";
      return said("response ends") ? "closed by both" : "half-closed (remote)";
    case "reset by the server":
    case "answered early": {
      // A client that ends its side as well has said its last word: what comes after that did not cross the reset.
      const frames = parseFrames(bytes);
      if (frames.some(({ type }) => type === FrameType.RST_STREAM)) return "reset by the client";
      const isLast = frames.some(({ type, flags }) => type <= FrameType.HEADERS && (flags & Flag.END_STREAM) !== 0);
      return isLast ? "closed by both" : before;
    }
    default:
      return before;
  }
}
