// When a schedule is due: cron expressions and time zones are croner's (docs/decisions).
import { Cron } from "croner";
import { InvalidRequest } from "../../errors.ts";

export interface CronTimes {
  /** Unix ms of the first time after this one; Infinity: never. */
  after(atMs: number): number;
}

/**
 * @param cron five fields, or six with seconds first
 * @param timeZone of the IANA database; "" is UTC
 * @throws InvalidRequest, naming `schedule.cron` or `schedule.time_zone`
 */
export function parseCron(cron: string, timeZone: string): CronTimes {
  const refuse = (field: string, description: string): never => {
    throw new InvalidRequest("BAD_SCHEDULE", [{ field: `schedule.${field}`, description }]);
  };
  const fields = cron.trim().split(/\s+/).length;
  if (fields < 5 || fields > 6) {
    refuse("cron", `"${cron}" has ${fields} fields: a cron expression has five, or six with seconds first`);
  }
  const zone = timeZone === "" ? "UTC" : timeZone;
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
  } catch {
    refuse("time_zone", `"${timeZone}" is no time zone of the IANA database`);
  }
  try {
    const times = new Cron(cron, { timezone: zone, mode: "5-or-6-parts" });
    return { after: (atMs) => times.nextRun(new Date(atMs))?.getTime() ?? Infinity };
  } catch (error) {
    return refuse("cron", `"${cron}" is no cron expression: ${error instanceof Error ? error.message : String(error)}`);
  }
}
