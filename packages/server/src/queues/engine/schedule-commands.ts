// Puts and deletes schedules: all of them are written down together, with the queue's own state.
import { LimitExceeded, NotFound } from "../../errors.ts";
import type { CheckedSchedule, ScheduleStatus } from "../contract.ts";
import type { QueueCore } from "./core.ts";

/** Schedules of a queue, and the bytes of all their jobs: each QueueState has them all. */
const SCHEDULES_MAX = 100;
const SCHEDULES_BYTES_MAX = 256 * 1024;

/** @throws InvalidRequest, LimitExceeded, and what the journal throws */
export function putSchedule(core: QueueCore, schedule: CheckedSchedule, nowMs: number): ScheduleStatus {
  const { schedules, name } = core;
  const others = schedules.list().filter((each) => each.name !== schedule.name);
  const bytes = [...others, schedule].reduce((sum, each) => sum + each.job.body.length, 0);
  if (others.length >= SCHEDULES_MAX || bytes > SCHEDULES_BYTES_MAX) {
    const bound = `the limits are ${SCHEDULES_MAX} schedules, and ${SCHEDULES_BYTES_MAX} bytes of all their jobs`;
    const message = `Cannot put schedule "${schedule.name}" of queue "${name}": ${bound}`;
    throw new LimitExceeded(message, `queue:${name}/schedules`);
  }
  const status = schedules.make(schedule, nowMs);
  core.appendState({ schedules: [...others, status] });
  schedules.put(schedule, { sinceMs: nowMs, lastAtMs: status.lastAtMs });
  return status;
}

/** @throws NotFound, and what the journal throws */
export function deleteSchedule(core: QueueCore, name: string): void {
  const { schedules } = core;
  if (!schedules.has(name)) throw new NotFound("schedule", name, `queue "${core.name}" has no schedule of this name`);
  core.appendState({ schedules: schedules.list().filter((each) => each.name !== name) });
  schedules.delete(name);
}
