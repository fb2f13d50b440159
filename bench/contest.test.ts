import { expect, test } from "vitest";
import { takeTurns, type Server } from "./contest.ts";

const servers = ["sluice", "grpc-js", "tonic"].map((who) => ({ who }) as Server);

test("rounds alternate, begin with another one each time, and the first is not counted", async () => {
  const order: string[] = [];
  const measured = await takeTurns(servers, 2, ({ who }) => Promise.resolve(order.push(who)));
  expect(order).toEqual(["sluice", "grpc-js", "tonic", "grpc-js", "tonic", "sluice", "tonic", "sluice", "grpc-js"]);
  expect(measured).toEqual([
    { who: "sluice", samples: [6, 8] },
    { who: "grpc-js", samples: [4, 9] },
    { who: "tonic", samples: [5, 7] },
  ]);
});

test("a measurement that fails says whose it was", async () => {
  const failing = takeTurns(servers, 1, ({ who }) =>
    who === "tonic" ? Promise.reject(new Error("3 of 4 requests succeeded")) : Promise.resolve(1),
  );
  await expect(failing).rejects.toThrow("tonic: 3 of 4 requests succeeded");
});
