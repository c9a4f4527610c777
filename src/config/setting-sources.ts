/** Where in the file; both count from 1. */
export interface Place {
  line: number;
  column: number;
}

export function placeOf(text: string, offset: number): Place {
  const before = text.slice(0, offset);
  return { line: before.split("\n").length, column: before.length - before.lastIndexOf("\n") };
}

/** Where each setting was read: a place in the file, or an environment variable, which goes before the file. */
export class SettingSources {
  readonly #keys = new Map<string, Place>();
  readonly #values = new Map<string, Place>();
  readonly #variables = new Map<string, string>();

  /** A key of the file, by its path; without a value where it is left empty. */
  inFile(path: string, key: Place, value: Place | undefined): void {
    this.#keys.set(path, key);
    if (value !== undefined) this.#values.set(path, value);
  }

  inVariable(path: string, variable: string): void {
    this.#variables.set(path, variable);
  }

  has(path: string): boolean {
    return this.#variables.has(path) || this.#values.has(path);
  }

  /** Of the value, or of its key where it is empty or the key is meant; of the nearest key above where it is not there itself. */
  originOf(path: string, of: "key" | "value" = "value"): { variable: string } | Partial<Place> {
    const variable = this.#variables.get(path);
    if (variable !== undefined) return { variable };
    const place = (of === "value" ? this.#values.get(path) : undefined) ?? this.#keys.get(path);
    if (place !== undefined) return place;
    return path.includes(".") ? this.originOf(path.slice(0, path.lastIndexOf(".")), "key") : {};
  }
}
