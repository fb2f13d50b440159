import { expect, test } from "vitest";
import { Pacer, takeTurns, type Server } from "./contest.ts";

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

test("the first run is short; after it, a run takes about as long for a slow one as for a fast one, within bounds", () => {
  const pacer = new Pacer({ first: 1000, most: 500_000, seconds: 2 });
  expect(pacer.units("tonic")).toBe(1000);
  pacer.learn("tonic", 100_000);
  pacer.learn("grpc-js", 10);
  pacer.learn("sluice", 1_000_000);
  expect(["tonic", "grpc-js", "sluice", "grpc-go"].map((who) => pacer.units(who))).toEqual([
    200_000, 100, 500_000, 1000,
  ]);
});
