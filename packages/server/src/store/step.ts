// Names the step of a write that failed: what follows depends on which one it was.

export type StepName =
  | "creating a segment"
  | "syncing the folder"
  | "writing"
  | "sealing a segment"
  | "cutting back a partial write"
  | "publishing";

export class StepFailed extends Error {
  override readonly name = "StepFailed";
  readonly step: StepName;
  constructor(step: StepName, cause: unknown) {
    super(`${step} failed: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
    this.step = step;
  }
}

/** @throws StepFailed */
export async function attempt<T>(step: StepName, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw new StepFailed(step, error);
  }
}
