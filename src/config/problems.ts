import type { z } from "zod";
import { ConfigurationError } from "../errors.js";
import { nearestWord } from "../support/nearest-word.js";
import { ALL_PATHS, keysAt } from "./config-file.js";
import type { Place, SettingSources } from "./setting-sources.js";

/** One thing that is wrong, as `details.problems` of the error has it. */
export interface ConfigProblem extends Partial<Place> {
  /** The key, for example `training.lora.r`; empty where it is the file as a whole. */
  path: string;
  /** The environment variable, where the value came from one. */
  variable?: string;
  /** What is wrong and what to write; never the value, which may be a secret in the wrong place. */
  message: string;
}

/** Lines that the message lists; `details.problems` has all. */
const MOST_LISTED = 20;

/** All problems in one error. */
export function configError(file: string, problems: readonly ConfigProblem[], cause?: unknown): ConfigurationError {
  const lines = problems.slice(0, MOST_LISTED).map((problem) => describe(file, problem));
  if (problems.length > MOST_LISTED) lines.push(`and ${problems.length - MOST_LISTED} more`);
  const message =
    lines.length === 1 ? `${lines[0]}.` : `${file} has ${problems.length} problems:\n${lines.map((line) => `  ${line}`).join("\n")}`;
  return new ConfigurationError("config_invalid", message, { details: { file, problems }, cause });
}

function describe(file: string, { path, line, column, variable, message }: ConfigProblem): string {
  const place = variable ?? (line === undefined ? file : `${file}:${line}:${column}`);
  return path === "" ? `${place} ${message}` : `${place}: ${path} ${message}`;
}

/** What zod found, in the words of the file. */
export function problemsOf(error: z.ZodError, section: string, sources: SettingSources): ConfigProblem[] {
  return error.issues.flatMap((issue) => {
    const path = [section, ...issue.path].map(String);
    if (issue.code === "unrecognized_keys") return issue.keys.map((key) => unknownKey([...path, key], sources));
    return [problemAt(path.join("."), wordingOf(issue, path, sources), sources)];
  });
}

export function problemAt(path: string, message: string, sources: SettingSources): ConfigProblem {
  return { path, ...sources.originOf(path), message };
}

/** A key that the file does not have, with the one that was probably meant. */
export function unknownKey(path: readonly string[], sources: SettingSources): ConfigProblem {
  const key = path.at(-1) as string;
  const known = keysAt(path.slice(0, -1));
  const elsewhere = ALL_PATHS.filter((one) => one.endsWith(`.${key}`));
  const near = nearestWord(key, known);
  let advice = `there are: ${known.join(", ")}`;
  if (key === "password") advice = "passwords are given by the environment: UDS3_POSTGRES_PASSWORD, UDS3_NEO4J_PASSWORD";
  else if (near !== undefined) advice = `did you mean ${near}?`;
  else if (elsewhere.length === 1) advice = `it stands at ${elsewhere[0]}`;
  const shown = key.length <= 60 && /^[\w.-]+$/.test(key) ? key : JSON.stringify(key.slice(0, 60));
  return {
    path: [...path.slice(0, -1), shown].join("."),
    ...sources.originOf(path.join("."), "key"),
    message: `is no key of a configuration; ${advice}`,
  };
}

/** Variables that give what the file need not hold. */
const VARIABLES: Readonly<Record<string, string>> = {
  "uds3.postgresql.host": "UDS3_POSTGRES_HOST",
  "uds3.chromadb.host": "UDS3_CHROMA_HOST",
  "uds3.neo4j.host": "UDS3_NEO4J_HOST",
};

const KINDS: Readonly<Record<string, string>> = {
  string: "a text; put it in quotes",
  number: "a number, without quotes",
  int: "a whole number",
  boolean: "true or false",
  array: "a list, for example [q_proj, v_proj]",
  object: "a section, with keys below it",
};

function wordingOf(issue: z.core.$ZodIssue, path: readonly string[], sources: SettingSources): string {
  const key = path.join(".");
  if (!sources.has(key)) {
    const variable = VARIABLES[key] ?? VARIABLES[`${key}.host`];
    return variable === undefined ? "is missing" : `is missing: give it here, or the host in ${variable}`;
  }
  switch (issue.code) {
    case "invalid_type":
      return `must be ${KINDS[issue.expected] ?? issue.expected}`;
    case "invalid_value":
      return `must be one of: ${issue.values.join(", ")}`;
    case "invalid_union":
      return "must be 4 or 8";
    case "too_small":
      if (issue.origin === "string") return "is empty";
      if (issue.origin === "array") return "must name at least one";
      return `must be ${issue.inclusive === false ? "above" : "at least"} ${issue.minimum}`;
    case "too_big":
      return `must be at most ${issue.maximum}`;
    default:
      return issue.message;
  }
}
