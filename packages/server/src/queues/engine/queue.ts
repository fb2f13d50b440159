// One queue: a state machine without I/O. Time, chance and the journal are given to it. Whoever wants to know what happens to
// a job reads on in this order: `enqueue.ts` (in), `dispatch.ts` (to a worker), `lease-commands.ts` (done, or not),
// `due-work.ts` (what happens by itself), `replay.ts` (again, after a restart); `jobs.ts` has the states, `order.ts` says who
// comes next.
//
// E1. Never more under way than credit: a job goes to a worker only while its `credit` is above 0.
// E2. Never two current leases of one job: its row has one link, and an attempt number is never issued twice, also after a
//     restart.
// E3. No job is lost: it leaves only with a record that says so (done, expired, cancelled, purged).
// E4. What is acknowledged never comes back.
// E5. Of the jobs of an ordering key one at a time is in play, in the order of enqueueing; a job that dies or is cancelled
//     leaves the key to the next one.
// E6. Of one fairness key, only jobs eligible less than 8 × age_ms after a job can overtake it.
// E7. State comes from records alone: replayed, they give the same jobs, counts, dedup ids and schedules. What is not durable:
//     offers, extensions, throttles, progress, and what fairness keys have had.
// E8. A refusal of the journal changes nothing.
// E9. Nothing happens with a worker after its `detach`, and nothing at all after `close`.
import { EndKind } from "@sluice/api";
import { LimitExceeded, NotFound } from "../../errors.ts";
import type {
  Answer,
  CheckedJob,
  CheckedSchedule,
  Counts,
  EngineBeforeOpen,
  EngineOptions,
  Enqueued,
  Explanation,
  JobLease,
  JobStateName,
  JobStatus,
  Journal,
  LeaseOutcome,
  NackHow,
  NewRecord,
  Place,
  QueueEngine,
  QueueWorker,
  ScheduleStatus,
  Settings,
} from "../contract.ts";
import { KEYS_MAX, QueueCore } from "./core.ts";
import { Dispatch, jobLeaseOf } from "./dispatch.ts";
import { DueWork } from "./due-work.ts";
import { enqueue } from "./enqueue.ts";
import { explain } from "./explain.ts";
import { JobPhase, NONE } from "./job-table.ts";
import type { Lease, WorkerSeat } from "./lease.ts";
import { LeaseCommands } from "./lease-commands.ts";
import { endedRecord, redrivenRecord } from "./records.ts";
import { carried, carry, replay } from "./replay.ts";
import { deleteSchedule, putSchedule } from "./schedule-commands.ts";
import { backlogOf, countsOf, listDead, slotsIn, statusOf } from "./views.ts";

/** Jobs that one call of `purge` or `redrive` changes. */
const PIECE_MAX = 1000;
export function createEngine(options: EngineOptions): EngineBeforeOpen {
  return new Engine(options);
}

class Engine implements QueueEngine, EngineBeforeOpen {
  readonly #core: QueueCore;
  readonly #dispatch: Dispatch;
  readonly #commands: LeaseCommands;
  readonly #due: DueWork;
  /** E9. */
  #isClosed = false;

  constructor(options: EngineOptions) {
    this.#core = new QueueCore(options);
    this.#dispatch = new Dispatch(this.#core);
    this.#commands = new LeaseCommands(this.#core);
    this.#due = new DueWork(this.#core, { dispatch: this.#dispatch, commands: this.#commands });
  }

  // --- The journal ------------------------------------------------------------------------------------------------

  replay(...[record, place, bytes]: Parameters<QueueEngine["replay"]>): void {
    replay(this.#core, record, { place, bytes });
  }

  carry(...[record, place]: Parameters<QueueEngine["carry"]>): readonly NewRecord[] {
    return carry(this.#core, record, place);
  }

  carried(record: NewRecord, place: Place, bytes: number): void {
    carried(this.#core, record, { place, bytes });
  }

  get liveBytes(): number {
    return this.#core.jobs.liveBytes + this.#core.dedup.bytes;
  }

  open(journal: Journal, settings?: Settings): Answer<QueueEngine> {
    const core = this.#core;
    const nowMs = core.now();
    core.open(journal);
    core.incarnation++;
    if (core.createdAtMs === 0) core.createdAtMs = nowMs;
    if (settings !== undefined) core.applySettings(settings, nowMs);
    core.appendState({});
    core.jobs.sortDead();
    // Their workers may come back: they are told of nothing yet, so their leases are granted anew.
    for (const lease of core.jobs.leases.all()) {
      const { graceMs } = core.settings;
      core.jobs.leases.extend(lease, nowMs + Math.max(lease.leaseMs, graceMs));
      core.jobs.leases.orphan(lease, nowMs + graceMs);
    }
    this.#due.run(nowMs);
    return this.#answer(this, nowMs);
  }

  close(): void {
    this.#isClosed = true;
    this.#due.close();
  }

  // --- Jobs -------------------------------------------------------------------------------------------------------

  get settings(): Settings {
    return this.#core.settings;
  }
  get createdAtMs(): number {
    return this.#core.createdAtMs;
  }
  get isPaused(): boolean {
    return this.#core.isPaused;
  }

  enqueue(jobs: readonly CheckedJob[]): Answer<readonly Enqueued[]> {
    const nowMs = this.#core.now();
    return this.#answer(enqueue(this.#core, jobs, nowMs), nowMs);
  }

  find(jobId: string): number | undefined {
    const slot = this.#core.jobs.findById(jobId);
    return slot === NONE ? undefined : this.#core.jobs.table.number(slot);
  }

  view(number: number): JobStatus {
    return statusOf(this.#core, this.#slotOf(number));
  }

  explain(number: number): Explanation {
    const slot = this.#slotOf(number);
    this.#core.jobs.order.advance(this.#core.now());
    return explain(this.#core, this.#dispatch, slot);
  }

  peek(state: JobStateName, limit: number): readonly JobStatus[] {
    this.#core.jobs.order.advance(this.#core.now());
    return [...slotsIn(this.#core, state, limit).take(limit)].map((slot) => statusOf(this.#core, slot));
  }

  listDead(after: string, limit: number): { readonly jobs: readonly JobStatus[]; readonly nextToken: string } {
    const { slots, nextToken } = listDead(this.#core, after, limit);
    return { jobs: slots.map((slot) => statusOf(this.#core, slot)), nextToken };
  }

  counts(): Counts {
    return countsOf(this.#core);
  }

  backlog(): ReturnType<QueueEngine["backlog"]> {
    return backlogOf(this.#core);
  }

  cancel(number: number): Answer<void> {
    const { jobs, totals } = this.#core;
    const nowMs = this.#core.now();
    const slot = this.#slotOf(number);
    const lease = jobs.isAtWorker(slot) ? jobs.leases.of(slot) : undefined;
    this.#core.append(endedRecord([number], EndKind.CANCELLED));
    totals.removed++;
    jobs.end(slot, nowMs);
    if (lease?.seat !== undefined) this.#tellLost(lease, lease.seat);
    return this.#answer(undefined, nowMs);
  }

  purge(state: "waiting" | "delayed" | "dead" | undefined): Answer<{ removed: number; more: boolean }> {
    const core = this.#core;
    const nowMs = core.now();
    const states = state === undefined ? (["waiting", "delayed", "dead"] as const) : [state];
    const slots: number[] = [];
    for (const each of states) slots.push(...slotsIn(core, each, PIECE_MAX).take(PIECE_MAX - slots.length));
    if (slots.length > 0) {
      core.append(
        endedRecord(
          slots.map((slot) => core.jobs.table.number(slot)),
          EndKind.PURGED,
        ),
      );
      core.totals.removed += slots.length;
      for (const slot of slots) core.jobs.end(slot, nowMs);
    }
    return this.#answer({ removed: slots.length, more: slots.length === PIECE_MAX }, nowMs);
  }

  redrive(numbers: readonly number[] | undefined): Answer<{ redriven: number; more: boolean }> {
    const { jobs } = this.#core;
    const nowMs = this.#core.now();
    const named =
      numbers === undefined ? jobs.dead.slots().take(PIECE_MAX) : numbers.map((each) => jobs.table.find(each));
    const slots = [...new Set(named)].filter((slot) => slot !== NONE && jobs.table.phase(slot) === JobPhase.DEAD);
    if (slots.length > 0) {
      this.#core.append(
        redrivenRecord(
          slots.map((slot) => jobs.table.number(slot)),
          nowMs,
        ),
      );
      for (const slot of slots) jobs.redrive(slot, nowMs, nowMs);
    }
    return this.#answer({ redriven: slots.length, more: numbers === undefined && jobs.dead.size > 0 }, nowMs);
  }

  // --- Workers ----------------------------------------------------------------------------------------------------

  attach(...[worker, held, from]: Parameters<QueueEngine["attach"]>): ReturnType<QueueEngine["attach"]> {
    const { jobs, settings, name } = this.#core;
    const nowMs = this.#core.now();
    if (jobs.workers.count >= settings.workersMax) {
      const message = `Cannot work for queue "${name}": it has ${jobs.workers.count} workers, and its workers_max is ${settings.workersMax}`;
      throw new LimitExceeded(message, `queue:${name}/workers`);
    }
    const seat = jobs.workers.add(worker);
    const kept: JobLease[] = [];
    const lost: JobLease[] = [];
    for (const each of held) {
      const lease = this.#awaited(each, worker.id);
      if (lease !== undefined) jobs.leases.adopt(lease, seat);
      (lease === undefined ? lost : kept).push(each);
    }
    if (from !== undefined) this.#commands.returnUnclaimed(from, nowMs);
    return this.#answer({ kept, lost }, nowMs);
  }

  creditChanged(worker: QueueWorker): void {
    const { workers } = this.#core.jobs;
    const seat = workers.find(worker);
    if (seat === undefined) return;
    seat.owesCredit = false;
    workers.review(seat);
    this.#settle(this.#core.now());
  }

  detach(...[worker, sent]: Parameters<QueueEngine["detach"]>): void {
    const { jobs, settings } = this.#core;
    const seat = jobs.workers.find(worker);
    if (seat === undefined) return;
    const nowMs = this.#core.now();
    for (const offer of seat.offers.open()) jobs.giveBack(offer.slot, nowMs);
    if (sent !== undefined) this.#commands.returnUnsent(seat, sent, nowMs);
    for (const lease of seat.running) jobs.leases.orphan(lease, nowMs + settings.graceMs);
    jobs.workers.remove(seat);
    this.#settle(nowMs);
  }

  drain(worker: QueueWorker): void {
    const { workers } = this.#core.jobs;
    const seat = workers.find(worker);
    if (seat === undefined) return;
    const nowMs = this.#core.now();
    seat.isDraining = true;
    this.#dispatch.takeBack(seat.offers.open(), "rebalance", nowMs);
    workers.review(seat);
    this.#settle(nowMs);
  }

  held(worker: QueueWorker): { readonly offered: number; readonly running: number } {
    const seat = this.#core.jobs.workers.find(worker);
    return { offered: seat?.offers.size ?? 0, running: seat?.running.size ?? 0 };
  }

  start(worker: QueueWorker, leases: readonly JobLease[]): Answer<readonly LeaseOutcome[]> {
    const nowMs = this.#core.now();
    return this.#answer(this.#commands.start(this.#core.jobs.workers.find(worker), leases, nowMs), nowMs);
  }

  ack(worker: QueueWorker, leases: readonly JobLease[]): Answer<readonly LeaseOutcome[]> {
    const nowMs = this.#core.now();
    return this.#answer(this.#commands.ack(this.#core.jobs.workers.find(worker), leases, nowMs), nowMs);
  }

  nack(worker: QueueWorker, lease: JobLease, how: NackHow): Answer<LeaseOutcome> {
    const nowMs = this.#core.now();
    return this.#answer(this.#commands.nack(this.#core.jobs.workers.find(worker), lease, { how, nowMs }), nowMs);
  }

  extend(leases: readonly JobLease[], leaseMs: number): readonly LeaseOutcome[] {
    const nowMs = this.#core.now();
    const outcomes = this.#commands.extend(leases, leaseMs, nowMs);
    this.#due.arm(nowMs);
    return outcomes;
  }

  progress(worker: QueueWorker, lease: JobLease, how: { readonly fraction: number; readonly message: string }): void {
    this.#commands.progress(this.#core.jobs.workers.find(worker), lease, how);
  }

  throttle(...[{ id }, { fairnessKey, untilMs }]: Parameters<QueueEngine["throttle"]>): void {
    const { order, leases } = this.#core.jobs;
    const nowMs = this.#core.now();
    if (order.findKey(fairnessKey) === undefined && order.keyCount >= KEYS_MAX) {
      const message = `Cannot throttle a fairness key of queue "${this.#core.name}": it has ${KEYS_MAX} keys already`;
      throw new LimitExceeded(message, `queue:${this.#core.name}/fairness keys`);
    }
    order.throttle(fairnessKey, { untilMs, by: id }, nowMs);
    if (untilMs > nowMs && (order.findKey(fairnessKey)?.active ?? 0) > 0) {
      const offers = leases.all().filter((each) => each.isOffer && order.keyOf(each.slot).name === fairnessKey);
      this.#dispatch.takeBack(offers, "paused", nowMs);
    }
    this.#settle(nowMs);
  }

  // --- The queue --------------------------------------------------------------------------------------------------

  pause(): Answer<void> {
    const nowMs = this.#core.now();
    if (!this.#core.isPaused) {
      this.#core.appendState({ isPaused: true });
      this.#core.isPaused = true;
      this.#dispatch.takeBack(
        this.#core.jobs.leases.all().filter((each) => each.isOffer),
        "paused",
        nowMs,
      );
    }
    return this.#answer(undefined, nowMs);
  }

  resume(): Answer<void> {
    if (this.#core.isPaused) {
      this.#core.appendState({ isPaused: false });
      this.#core.isPaused = false;
    }
    return this.#answer(undefined, this.#core.now());
  }

  update(settings: Settings): Answer<void> {
    const nowMs = this.#core.now();
    this.#core.appendState({ settings });
    this.#core.applySettings(settings, nowMs);
    return this.#answer(undefined, nowMs);
  }

  putSchedule(schedule: CheckedSchedule): Answer<ScheduleStatus> {
    const nowMs = this.#core.now();
    return this.#answer(putSchedule(this.#core, schedule, nowMs), nowMs);
  }

  schedules(): readonly ScheduleStatus[] {
    return this.#core.schedules.list();
  }

  deleteSchedule(name: string): Answer<void> {
    deleteSchedule(this.#core, name);
    return this.#answer(undefined, this.#core.now());
  }

  // --- Within -----------------------------------------------------------------------------------------------------

  /** What follows from a command: handouts, and the next timer. */
  #settle(nowMs: number): void {
    if (this.#isClosed) return;
    this.#dispatch.run(nowMs);
    this.#due.arm(nowMs);
  }

  #answer<T>(value: T, nowMs: number): Answer<T> {
    this.#settle(nowMs);
    return { value, place: this.#core.lastPlace };
  }

  /** A started lease that waits for this worker to come back. */
  #awaited({ number, attempt }: JobLease, workerId: string): Lease | undefined {
    const { jobs } = this.#core;
    const slot = jobs.table.find(number);
    if (slot === NONE || jobs.table.phase(slot) !== JobPhase.RUNNING) return undefined;
    const lease = jobs.leases.of(slot);
    const isIts = lease.attempt === attempt && lease.seat === undefined && lease.workerId === workerId;
    return isIts ? lease : undefined;
  }

  #tellLost(lease: Lease, seat: WorkerSeat): void {
    if (lease.isOffer) seat.worker.recall([jobLeaseOf(lease)], "cancelled");
    else seat.worker.leaseLost([jobLeaseOf(lease)]);
    this.#core.jobs.workers.review(seat);
  }

  #slotOf(number: number): number {
    const slot = this.#core.jobs.table.find(number);
    if (slot === NONE) {
      throw new NotFound("job", String(number), `queue "${this.#core.name}" has no such job, or it is done`);
    }
    return slot;
  }
}
