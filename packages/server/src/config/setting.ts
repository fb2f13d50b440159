// One setting: a type of zod's, with what is said of it.
import { z } from "zod";

/** What is said of a setting beside its type. */
export interface About {
  readonly description: string;
  /** Stands for the value in `--help`; absent for a flag that takes none. */
  readonly placeholder?: string;
  /** As somebody would write it. */
  readonly default: string | number | boolean;
  /** Left out of `--help`: who needs it finds it with `config show` and in the guide to limits. */
  readonly isAdvanced?: true;
  /** Takes several: separated by commas, a flag that is repeated, a list in the file. */
  readonly isList?: true;
  /** The file may have a map instead of a list: `a: b` for "a=b". */
  readonly isMap?: true;
}

/** What is said of each. */
export const abouts = z.registry<About>();

/** A type with its default, and what is said of it. */
export function setting<T extends z.ZodType<unknown, string | number | boolean>>(type: T, about: About) {
  const withDefault = type.prefault(about.default as z.input<T>);
  abouts.add(withDefault, about);
  return withDefault;
}
