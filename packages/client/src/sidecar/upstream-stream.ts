// The requests of one Work stream to the server.
import { Frames } from "@sluice/rpc";
import { Gate } from "../gate.ts";

export class UpstreamStream {
  readonly #changed = new Gate();
  #frames: Uint8Array[] = [];
  #isFinished = false;

  say(frame: Uint8Array): void {
    this.#frames.push(frame);
    this.#changed.open();
  }

  /** Half-closes it behind what was said. */
  finish(): void {
    this.#isFinished = true;
    this.#changed.open();
  }

  async *requests(): AsyncGenerator<Frames> {
    for (;;) {
      if (this.#frames.length > 0) {
        const frames = this.#frames;
        this.#frames = [];
        yield new Frames(frames.length === 1 ? frames[0]! : Buffer.concat(frames));
      } else if (this.#isFinished) return;
      else await this.#changed.wait();
    }
  }
}
