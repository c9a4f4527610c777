import { ConfigurationError } from "../errors.js";

/**
 * Refuses options that are not there: a misspelt one would leave its default in force without a word.
 * @throws ConfigurationError `config_invalid`, with `details.unknown`
 */
export function requireKnown(what: string, options: unknown, known: Readonly<Record<string, unknown>>): void {
  if (typeof options !== "object" || options === null || Array.isArray(options)) {
    const given = options === null ? "null" : Array.isArray(options) ? "an array" : typeof options;
    throw new ConfigurationError("config_invalid", `${what} must be an object, not ${given}.`);
  }
  const unknown = Object.keys(options).filter((name) => !Object.hasOwn(known, name));
  if (unknown.length === 0) return;
  const message = `${what} has no option ${unknown.map((name) => JSON.stringify(name)).join(", ")}. There are: ${Object.keys(known).join(", ")}.`;
  throw new ConfigurationError("config_invalid", message, { details: { unknown } });
}

/** Refuses what is none of the words that an option may be. @throws ConfigurationError `config_invalid` */
export function requireOneOf(what: string, value: unknown, words: readonly string[]): void {
  if (words.includes(value as string)) return;
  const message = `${what} is ${JSON.stringify(value)}; give ${words.map((word) => JSON.stringify(word)).join(" or ")}.`;
  throw new ConfigurationError("config_invalid", message);
}
