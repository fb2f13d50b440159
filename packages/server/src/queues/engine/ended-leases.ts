// Which leases ended with an Ack a short while ago: so that a worker that says it again is told that it counted. The last one
// of each residue of job numbers is remembered, that is some thousand, without an allocation.
const REMEMBERED = 8192;

export class EndedLeases {
  readonly #numbers = new Float64Array(REMEMBERED);
  readonly #attempts = new Float64Array(REMEMBERED);

  add(number: number, attempt: number): void {
    this.#numbers[number % REMEMBERED] = number;
    this.#attempts[number % REMEMBERED] = attempt;
  }

  has(number: number, attempt: number): boolean {
    // Nothing was remembered of the number 0, which no job has.
    return (
      number > 0 && this.#numbers[number % REMEMBERED] === number && this.#attempts[number % REMEMBERED] === attempt
    );
  }
}
