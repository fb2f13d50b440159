// Where a write goes: the log that it names, or the routes when it names none. What all writers share is made here.
//
// V1. Every entrance asks `authorize` before it looks for the log, so that nobody learns which logs there are.
import { NotFound } from "../errors.ts";
import type { Limits } from "../limits.ts";
import type { Authorize, Subject } from "../security/authorize.ts";
import type { Clock, LogReader, LogWriter } from "../store/contract.ts";
import type { WriteTarget } from "./ingest.ts";
import { Ingest } from "./ingest.ts";
import { DEFAULT_LOG, parseLogName } from "./log-name.ts";
import { type Route, Router } from "./routing.ts";
import { WriteBudget } from "../stream/write-budget.ts";

export interface WriteTargetsOptions {
  readonly logs: readonly { readonly name: string; readonly reader: LogReader; readonly writer: LogWriter }[];
  /** For writes that name no log; the first one that matches holds. */
  readonly routes: readonly Route[];
  readonly authorize: Authorize;
  readonly clock: Clock;
  readonly limits: Limits;
}

export interface WriteTargets {
  /** @param log as the request names it. @throws InvalidRequest, NotFound; what `authorize` throws */
  find(subject: Subject, log: string): WriteTarget;
  readonly budget: WriteBudget;
}

/** @throws InvalidRequest when a log's name is none; NotFound when a route leads to no log */
export function createWriteTargets(options: WriteTargetsOptions): WriteTargets {
  const { authorize, clock, limits, routes } = options;
  const ingests = new Map<string, Ingest>();
  for (const { name, reader, writer } of options.logs) {
    const log = parseLogName(name);
    ingests.set(log, new Ingest({ log, reader, writer, clock, limits }));
  }
  const find = (log: string): Ingest => {
    const ingest = ingests.get(log);
    if (ingest === undefined) throw new NotFound("log", log, "this server was started without it");
    return ingest;
  };
  const router = routes.length === 0 ? undefined : new Router(routes, { otherwise: find(DEFAULT_LOG), find });
  return {
    budget: new WriteBudget(limits.writesBytesMax),
    find(subject, log) {
      if (log === "" && router !== undefined) return router.targetFor(subject, authorize);
      const name = parseLogName(log);
      authorize(subject, "write", { type: "log", name });
      return find(name);
    },
  };
}
