// grpc.health.v1.
import { Code, createClient, HealthRegistry, serveHealth } from "@sluice/rpc";
import { expect, test } from "vitest";
import {
  Health,
  HealthCheckResponse_ServingStatus as Status,
} from "../../packages/rpc/src/gen/grpc/health/v1/health_pb.ts";
import { overBothTransports, startEcho } from "./support.ts";

overBothTransports((transport) => {
  test("Check and List tell the status of each service", async () => {
    const registry = new HealthRegistry(["a.Service", "b.Service"]);
    await using echo = await startEcho(transport, { services: [serveHealth(registry)] });
    const health = createClient(Health, echo.channel);
    await expect(health.check({})).resolves.toMatchObject({ status: Status.SERVING });
    await expect(health.check({ service: "a.Service" })).resolves.toMatchObject({ status: Status.SERVING });
    registry.setServing("a.Service", false);
    await expect(health.check({ service: "a.Service" })).resolves.toMatchObject({ status: Status.NOT_SERVING });
    await expect(health.check({ service: "unknown" })).rejects.toMatchObject({ code: Code.NOT_FOUND });
    const { statuses } = await health.list({});
    expect(Object.entries(statuses).map(([name, { status }]) => [name, status])).toEqual([
      ["", Status.SERVING],
      ["a.Service", Status.NOT_SERVING],
      ["b.Service", Status.SERVING],
    ]);
  });

  test("Watch tells the status now and every change of it, and none of others", async () => {
    const registry = new HealthRegistry(["a.Service"]);
    await using echo = await startEcho(transport, { services: [serveHealth(registry)] });
    const watch = createClient(Health, echo.channel).watch({ service: "a.Service" });
    const next = async (): Promise<Status | undefined> => (await watch.next()).value?.status;
    expect(await next()).toBe(Status.SERVING);
    registry.setServing("other", false);
    registry.setServing("a.Service", false);
    expect(await next()).toBe(Status.NOT_SERVING);
    registry.setServing("a.Service", true);
    expect(await next()).toBe(Status.SERVING);
    await watch.return?.();
    await expect.poll(() => registry.watchers).toBe(0);
  });

  test("a status that does not change is no news", () => {
    const registry = new HealthRegistry(["a.Service"]);
    const heard: Status[] = [];
    const unsubscribe = registry.watch("a.Service", (status) => heard.push(status));
    registry.setServing("a.Service", true);
    registry.setServing("a.Service", false);
    registry.setServing("a.Service", false);
    unsubscribe();
    registry.setServing("a.Service", true);
    expect(heard).toEqual([Status.NOT_SERVING]);
    expect(registry.watchers).toBe(0);
  });

  test("Watch of an unknown service waits for it", async () => {
    const registry = new HealthRegistry();
    await using echo = await startEcho(transport, { services: [serveHealth(registry)] });
    const watch = createClient(Health, echo.channel).watch({ service: "later" });
    expect((await watch.next()).value?.status).toBe(Status.SERVICE_UNKNOWN);
    registry.setServing("later", true);
    expect((await watch.next()).value?.status).toBe(Status.SERVING);
    await watch.return?.();
  });

  test("after shutDown nothing serves, for good", async () => {
    const registry = new HealthRegistry(["a.Service"]);
    await using echo = await startEcho(transport, { services: [serveHealth(registry)] });
    const health = createClient(Health, echo.channel);
    const watch = health.watch({});
    await watch.next();
    registry.shutDown();
    expect((await watch.next()).value?.status).toBe(Status.NOT_SERVING);
    registry.setServing("a.Service", true);
    await expect(health.check({ service: "a.Service" })).resolves.toMatchObject({ status: Status.NOT_SERVING });
    await watch.return?.();
  });
});
