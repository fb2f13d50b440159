// V2 of both roles of HTTP/2: the same bytes cut anywhere else have the same effect, to the byte.
import { Random } from "../random.ts";
import type { Input } from "../target.ts";
import { piecesOf } from "./pieces.ts";

/** What a machine did with its input. */
export interface Outcome {
  readonly sent: Buffer;
  /** What its streams heard, in words. */
  readonly stories: string;
}

/** Feeds a machine that was made for it; `flushesBetween`: it sends after each piece, and so what it sends may differ. */
export type Play = (pieces: readonly Buffer[], input: Input, flushesBetween: boolean) => Outcome;

/** Plays an input whole and in pieces. The function throws when the outcomes differ. */
export function cutEitherWay(play: Play): (input: Input) => void {
  return (input) => {
    const whole = play([input.bytes], input, false);
    const random = new Random(~input.salt);
    const inPieces = play(piecesOf(input.bytes, random), input, false);
    if (whole.stories !== inPieces.stories) {
      throw new Error(`Cut otherwise, streams heard\n${inPieces.stories}\ninstead of\n${whole.stories}`);
    }
    if (!whole.sent.equals(inPieces.sent)) {
      throw new Error(
        `Cut otherwise, it sent\n${inPieces.sent.toString("hex")}\ninstead of\n${whole.sent.toString("hex")}`,
      );
    }
    play(piecesOf(input.bytes, random), input, true);
  };
}
