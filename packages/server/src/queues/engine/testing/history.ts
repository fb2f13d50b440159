// Plays a random history on a queue. What must be true after each step is in world.ts.
import { expect } from "vitest";
import type { JobLease, Settings } from "../../contract.ts";
import { FakeWorker } from "./fake-worker.ts";
import { newJob } from "./queue-fixture.ts";
import { World } from "./world.ts";

/** One thing that happens. `pick` and `size` mean something else for each. */
export interface Step {
  readonly what: keyof typeof STEPS;
  readonly pick: number;
  readonly size: number;
}

export const STEPS = {
  enqueue: 8,
  start: 8,
  ack: 8,
  ackAgain: 1,
  ackForeign: 1,
  retry: 3,
  return: 3,
  reject: 1,
  extend: 2,
  window: 4,
  attach: 4,
  cut: 2,
  drain: 1,
  throttle: 2,
  cancel: 1,
  redrive: 2,
  purge: 0.2,
  pause: 1,
  settings: 0.5,
  schedule: 0.3,
  tick: 4,
  hours: 0.5,
  restart: 2,
  clean: 2,
  full: 1,
} as const;

const WORKERS = ["a", "b", "c"];

export class History {
  readonly world: World;

  constructor(settings: Partial<Settings>) {
    this.world = new World(settings);
  }

  play(step: Step): void {
    const isFull = step.what === "full";
    this.world.queue.journal.isFull = isFull;
    const before = isFull ? this.world.durable() : undefined;
    const what = isFull
      ? (["enqueue", "ack", "retry", "cancel", "redrive", "tick"] as const)[step.pick % 6]!
      : step.what;
    try {
      this.#do(what, step);
    } catch (error) {
      if (!isFull || !(error instanceof Error) || error.name !== "DiskFull") throw error;
    }
    if (before !== undefined && what !== "tick") expect(this.world.durable(), "E8").toEqual(before);
    this.world.queue.journal.isFull = false;
    // What was due meanwhile is tried again.
    if (before !== undefined && what === "tick") this.world.queue.clock.advance(1000);
    for (const worker of this.world.workers.values())
      if (worker.lostPlaces > 0) this.world.queue.setWindow(worker, worker.window);
    this.world.check();
  }

  #do(what: Step["what"], { pick, size }: Step): void {
    const { engine } = this.world.queue;
    switch (what) {
      case "enqueue":
        this.#enqueue(pick, size);
        return;
      case "start":
        for (const { worker, lease } of this.#some(this.world.offers(), pick)) {
          if (this.world.queue.start(worker, lease.number) !== "ok")
            throw new Error("a Start of an own offer is no OK");
        }
        return;
      case "ack":
        for (const { worker, lease } of this.#some([...this.world.offers(), ...this.world.running()], pick))
          this.#ack(worker, lease);
        return;
      case "ackAgain":
        for (const [number, { worker, lease }] of this.#some([...this.world.acked], pick)) {
          const holder = this.world.workers.get(worker);
          const [outcome] = engine.ack(holder ?? new FakeWorker("x"), [lease]).value;
          expect(["duplicate", "not-found"], `E4 ${number}`).toContain(outcome!.code);
        }
        return;
      case "ackForeign":
        for (const { worker, lease } of this.#some(this.world.running(), pick)) {
          const other = this.#some([...this.world.workers.values()], pick)[0]!;
          const attempt = other === worker ? lease.attempt - 1 : lease.attempt;
          expect(engine.ack(other, [{ number: lease.number, attempt }]).value[0]!.code).toBe("stale");
        }
        return;
      case "retry":
      case "return":
      case "reject":
        for (const { worker, lease } of this.#some([...this.world.offers(), ...this.world.running()], pick)) {
          const how =
            what === "return" ? ({ kind: what } as const) : ({ kind: what, reason: "no", notBeforeMs: 0 } as const);
          this.#forget(worker, lease, () => expect(engine.nack(worker, lease, how).value.code).toBe("ok"));
        }
        return;
      case "extend":
        for (const { lease } of this.#some(this.world.running(), pick))
          expect(engine.extend([lease], 0)[0]!.code).toBe("ok");
        return;
      default:
        this.#doWithWorkers(what, pick, size);
    }
  }

  #doWithWorkers(what: Step["what"], pick: number, size: number): void {
    const { engine } = this.world.queue;
    switch (what) {
      case "window":
        for (const worker of this.#some([...this.world.workers.values()], pick))
          this.world.queue.setWindow(worker, size % 7);
        return;
      case "attach":
        this.#attach(WORKERS[pick % WORKERS.length]!, size);
        return;
      case "cut":
        for (const worker of this.#some([...this.world.workers.values()], pick)) this.#cutOff(worker);
        return;
      case "drain":
        for (const worker of this.#some([...this.world.workers.values()], pick)) {
          engine.drain(worker);
          expect(worker.offers.size).toBe(0);
          worker.isDraining = true;
        }
        return;
      case "throttle":
        for (const worker of this.#some([...this.world.workers.values()], pick)) {
          const untilMs = size % 3 === 0 ? 0 : this.world.queue.nowMs + size * 40;
          engine.throttle(worker, { fairnessKey: `f${pick % 3}`, untilMs });
        }
        return;
      case "cancel":
        for (const job of this.#some(this.world.live(), pick)) {
          engine.cancel(job.number);
          this.world.removed++;
          this.#dropEverywhere(job.number);
        }
        return;
      case "redrive":
        for (const { number } of engine.peek("dead", 1000)) this.world.redriven.add(number);
        engine.redrive(
          size % 2 === 0 ? undefined : this.#some(engine.peek("dead", 10), pick).map((each) => each.number),
        );
        return;
      case "purge":
        this.world.removed += engine.purge((["waiting", "delayed", "dead"] as const)[pick % 3]).value.removed;
        return;
      default:
        this.#doWithQueue(what, pick, size);
    }
  }

  #doWithQueue(what: Step["what"], pick: number, size: number): void {
    const { engine, clock, journal } = this.world.queue;
    switch (what) {
      case "pause":
        if (engine.isPaused) engine.resume();
        else engine.pause();
        return;
      case "settings":
        engine.update({
          ...engine.settings,
          ageMs: 50 + size * 20,
          weights: new Map([[`f${pick % 3}`, 1 + (size % 4)]]),
        });
        return;
      case "schedule":
        engine.putSchedule({
          name: `s${pick % 2}`,
          cron: "*/5 * * * *",
          timeZone: "",
          job: newJob({ fairnessKey: "f1" }),
        });
        return;
      case "tick":
        clock.advance(size * 13);
        return;
      case "hours":
        clock.skip(3_600_000);
        clock.advance(1);
        return;
      case "restart":
        this.#restart();
        return;
      case "clean":
        journal.clean(engine, Math.min(journal.length - 1, size), { keepOld: pick % 4 === 0 });
        return;
      default:
        throw new Error(`no step: ${what}`);
    }
  }

  // --- Steps --------------------------------------------------------------------------------------------------------

  #enqueue(pick: number, size: number): void {
    const job = newJob({
      priority: pick % 8,
      fairnessKey: `f${pick % 3}`,
      orderingKey: size % 3 === 0 ? `o${pick % 2}` : "",
      notBeforeMs: size % 5 === 0 ? this.world.queue.nowMs + size * 20 : 0,
      ttlMs: size % 7 === 0 ? 500 : 0,
      dedupId: size % 11 === 0 ? `d${pick % 5}` : "",
      body: new Uint8Array(size),
    });
    const { value } = this.world.queue.engine.enqueue(Array.from({ length: 1 + (pick % 3) }, () => job));
    for (const { jobId, duplicate } of value) if (!duplicate) this.world.jobs.set(Number(jobId), job);
  }

  #ack(worker: FakeWorker, lease: JobLease): void {
    // Taken back since the caller looked.
    const has = worker.offers.get(lease.number) ?? worker.running.get(lease.number);
    if (has?.lease.attempt !== lease.attempt) return;
    this.#forget(worker, lease, () => {
      const [first, second] = this.world.queue.engine.ack(worker, [lease, lease]).value;
      expect([first!.code, second!.code]).toEqual(["ok", "duplicate"]);
      this.world.acked.set(lease.number, { worker: worker.id, lease });
    });
  }

  /** The worker has it no more, unless the queue refuses. */
  #forget(worker: FakeWorker, { number }: JobLease, command: () => void): void {
    const offer = worker.offers.get(number);
    const running = worker.running.get(number);
    worker.offers.delete(number);
    worker.running.delete(number);
    try {
      command();
    } catch (error) {
      if (offer !== undefined) worker.offers.set(number, offer);
      if (running !== undefined) worker.running.set(number, running);
      throw error;
    }
    this.world.queue.engine.creditChanged(worker);
  }

  #attach(id: string, size: number): void {
    if (this.world.workers.has(id)) return;
    const held = this.world.cut.get(id) ?? [];
    const worker = new FakeWorker(id, { explicitStart: size % 3 !== 0 });
    const { kept } = this.world.queue.engine.attach(worker, held).value;
    this.world.cut.delete(id);
    this.world.workers.set(id, worker);
    for (const lease of kept) {
      worker.running.set(lease.number, {
        lease,
        place: 0,
        jobId: "",
        bytes: 0,
        priority: 0,
        failures: 0,
        leaseUntilMs: 1,
        recordPlace: 0,
      });
    }
    this.world.queue.setWindow(worker, size % 7);
  }

  #cutOff(worker: FakeWorker): void {
    this.world.queue.engine.detach(worker);
    this.world.cut.set(worker.id, worker.leases());
    this.world.workers.delete(worker.id);
  }

  #restart(): void {
    for (const worker of this.world.workers.values()) this.#cutOff(worker);
    // What is due at this moment is done by an opening, too.
    this.world.queue.clock.advance(0);
    const before = this.world.durable();
    this.world.queue.restart();
    expect(this.world.durable(), "E7").toEqual(before);
  }

  /** Everybody works until nothing is left but the dead. */
  finish(): void {
    const { engine, clock } = this.world.queue;
    if (engine.isPaused) engine.resume();
    for (const { name } of engine.schedules()) engine.deleteSchedule(name);
    for (const worker of this.world.workers.values()) this.#cutOff(worker);
    const worker = this.world.queue.worker("z", { window: 5 });
    this.world.workers.set("z", worker);
    for (let round = 0; round < 2000; round++) {
      const { waiting, offered, running, delayed } = engine.counts();
      if (waiting + offered + running + delayed === 0) return;
      for (const lease of [...worker.offered(), ...worker.leases()]) this.#ack(worker, lease);
      this.world.check();
      if (worker.load === 0) clock.advance(60_000);
    }
    throw new Error(`jobs are left: ${JSON.stringify(engine.counts())}`);
  }

  // --- What there is ------------------------------------------------------------------------------------------------

  #some<T>(list: readonly T[], pick: number): T[] {
    return list.length === 0 ? [] : [list[pick % list.length]!];
  }

  #dropEverywhere(number: number): void {
    for (const worker of this.world.workers.values())
      expect(worker.offers.has(number) || worker.running.has(number)).toBe(false);
  }
}
