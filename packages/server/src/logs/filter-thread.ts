// The thread that gathers the marks of sealed segments: all computing of segment filters is here.
import { parentPort } from "node:worker_threads";
import { addMarks, FilterBits } from "../store/segment-filter.ts";
import type { FilterAnswer, FilterOrder } from "./filter-protocol.ts";
import { entryMarks } from "./marks.ts";

const port = parentPort!;
let bits: FilterBits | undefined;

port.on("message", (order: FilterOrder) => {
  switch (order.kind) {
    case "begin":
      bits = new FilterBits(order.frameBytes);
      answer({ kind: "taken" });
      return;
    case "piece":
      addMarks(bits!, entryMarks, order.frames);
      answer({ kind: "taken" });
      return;
    case "finish": {
      const blocks = bits!.finish();
      bits = undefined;
      answer({ kind: "made", blocks }, [blocks.buffer]);
      return;
    }
    case "drop":
      bits = undefined;
      answer({ kind: "taken" });
      return;
    default:
      order satisfies never;
  }
});

function answer(message: FilterAnswer, transfer: ArrayBuffer[] = []): void {
  port.postMessage(message, transfer);
}
