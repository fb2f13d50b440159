// A queue in its smallest form, as the owner of a journal: which jobs there are, and how often each has failed. What the
// journal needs of an engine, and nothing else, so that a test can say what must come back.
import { fromBinary } from "@bufbuild/protobuf";
import { EndKind, JobSchema, JobState, type JournalRecord } from "@sluice/api";
import type { Journal, JournalOwner, NewRecord, Place } from "../../contract.ts";

interface ModelJob {
  place: Place;
  bytes: number;
  failures: number;
}

export class ModelQueue implements JournalOwner {
  readonly jobs = new Map<number, ModelJob>();
  /** Counted by the queue's own record; each opening writes one. */
  openings = 0;
  /** Bytes of live jobs that are only pretended. */
  pretendedBytes = 0;
  /** Records that `carry` was asked about. */
  asked = 0;
  #bytes = 0;
  #next = 1;
  #journal: Journal | undefined;

  get liveBytes(): number {
    return this.#bytes + this.pretendedBytes;
  }

  /** Begins, as an engine does; answers the place of its first record. */
  open(journal: Journal): Place {
    this.#journal = journal;
    this.openings++;
    return journal.append(this.#state());
  }

  /** Enqueues a job; `body` is what `bodyOf` must give. */
  add(size: number): { number: number; place: Place } {
    const journal = this.#opened();
    const number = this.#next;
    const place = journal.append({
      kind: {
        case: "added",
        value: { number: BigInt(number), job: { jobId: String(number), body: bodyOf(number, size) } },
      },
    });
    this.#next++;
    this.#put(number, { place, bytes: journal.appendedBytes, failures: 0 });
    return { number, place };
  }

  fail(number: number): Place {
    const place = this.#opened().append({ kind: { case: "failed", value: { number: BigInt(number) } } });
    this.jobs.get(number)!.failures++;
    return place;
  }

  end(...numbers: readonly number[]): Place {
    const place = this.#opened().append({
      kind: { case: "ended", value: { numbers: numbers.map(BigInt), kind: EndKind.DONE } },
    });
    for (const number of numbers) this.#drop(number);
    return place;
  }

  replay({ kind }: JournalRecord, place: Place, bytes: number): void {
    switch (kind.case) {
      case "added": {
        const number = Number(kind.value.number);
        this.#put(number, { place, bytes, failures: kind.value.state?.failures ?? 0 });
        this.#next = Math.max(this.#next, number + 1);
        return;
      }
      case "failed": {
        const job = this.jobs.get(Number(kind.value.number));
        if (job !== undefined) job.failures++;
        return;
      }
      case "ended":
        for (const number of kind.value.numbers) this.#drop(Number(number));
        return;
      case "queue":
        this.openings = kind.value.incarnation;
        this.#next = Math.max(this.#next, Number(kind.value.nextNumber));
        return;
      default:
        throw new Error(`The model writes no record of kind ${kind.case}`);
    }
  }

  carry({ kind }: JournalRecord, place: Place): readonly NewRecord[] {
    this.asked++;
    if (kind.case === "queue") return kind.value.incarnation === this.openings ? [this.#state()] : [];
    if (kind.case !== "added") throw new Error(`Nothing of a record of kind ${kind.case} has to be carried`);
    const job = this.jobs.get(Number(kind.value.number));
    if (job === undefined || job.place !== place) return [];
    const { number, job: content } = kind.value;
    const state = { state: JobState.WAITING, failures: job.failures };
    return [{ kind: { case: "added", value: { number, ...(content === undefined ? {} : { job: content }), state } } }];
  }

  carried({ kind }: NewRecord, place: Place, bytes: number): void {
    if (kind?.case !== "added") return;
    const number = Number(kind.value.number);
    this.#put(number, { ...this.jobs.get(number)!, place, bytes });
  }

  /** What a reopened queue must have in common with this one. */
  describe(): string {
    const jobs = [...this.jobs].sort(([a], [b]) => a - b).map(([number, { failures }]) => `${number}:${failures}`);
    return jobs.join(" ");
  }

  /** Reads every job; answers what is wrong with them, in sentences. */
  async check(journal: Journal): Promise<string[]> {
    const wrong: string[] = [];
    for (const [number, { place }] of this.jobs) {
      const { jobId, body } = fromBinary(JobSchema, await journal.body(place));
      if (jobId !== String(number)) wrong.push(`job ${number} is job ${jobId} on disk`);
      if (!bodyOf(number, body.length).equals(body)) wrong.push(`job ${number} has another body`);
    }
    return wrong;
  }

  #state(): NewRecord {
    return { kind: { case: "queue", value: { incarnation: this.openings, nextNumber: BigInt(this.#next) } } };
  }

  #put(number: number, job: ModelJob): void {
    this.#drop(number);
    this.jobs.set(number, job);
    this.#bytes += job.bytes;
  }

  #drop(number: number): void {
    this.#bytes -= this.jobs.get(number)?.bytes ?? 0;
    this.jobs.delete(number);
  }

  #opened(): Journal {
    if (this.#journal === undefined) throw new Error("The model was not opened");
    return this.#journal;
  }
}

/** The same for a number, and different for each two. */
export function bodyOf(number: number, size: number): Buffer {
  return Buffer.alloc(size, `${number},`);
}
