import type { Document, LineCounter, Node, Pair, YAMLError } from "yaml";
import type { ConfigProblem } from "./problems.js";
import { type Place, placeOf, SettingSources } from "./setting-sources.js";

/** Levels of a value; a configuration has five. */
const MOST_LEVELS = 20;
/** Values, each copy that an alias makes counted: what an alias of aliases would multiply ends here. */
const MOST_VALUES = 10_000;

/** The file as plain data, and where each of its keys stands. */
export interface ParsedFile {
  data: Record<string, unknown>;
  sources: SettingSources;
  problems: ConfigProblem[];
}

/** The parser's messages may show what stands there, and that may be a secret. */
const SYNTAX: Readonly<Record<string, string>> = {
  TAB_AS_INDENT: "is indented by a tab: use spaces",
  BAD_INDENT: "is indented unlike the lines that it belongs to, or a bracket is not closed above it",
  MULTILINE_IMPLICIT_KEY: "is no `key: value`: the colon with a space after it is missing, or the line is indented too far or too little",
  BLOCK_AS_IMPLICIT_KEY: "has a second `: ` in its value: put the value in quotes, or the inner keys on lines of their own",
  BLOCK_IN_FLOW: "has a second `: ` between its brackets: put the value in quotes",
  MISSING_CHAR: "lacks something before this place: the end of a quote, a bracket, or the colon after a key",
  BAD_SCALAR_START: "has a value that begins with a character reserved by YAML: put it in quotes",
  BAD_DQ_ESCAPE: "has a backslash that means nothing in double quotes: use single quotes",
  TAG_RESOLVE_FAILED: "has a tag (`!…`): tags are not used here",
  MULTIPLE_DOCS: "begins a second document: one file holds one configuration",
  RESOURCE_EXHAUSTION: "is nested too deeply",
};

/** Reads YAML 1.2. Problems of the syntax are all that is told where there are any. */
export async function parseYaml(text: string): Promise<ParsedFile> {
  const nothing = { data: {}, sources: new SettingSources() };
  const tooDeep = deepPlace(text);
  if (tooDeep !== undefined) return { ...nothing, problems: [{ path: "", ...tooDeep, message: "is nested too deeply" }] };
  // Loaded only here: who configures in code needs no parser.
  const yaml = await import("yaml");
  const lineCounter = new yaml.LineCounter();
  const documents = yaml.parseAllDocuments(text, { prettyErrors: false, logLevel: "silent", uniqueKeys: false, lineCounter });
  const [document, second] = "empty" in documents ? [] : documents;
  if (document === undefined) return { ...nothing, problems: [] };
  const errors: Pick<YAMLError, "code" | "pos">[] = [...document.errors, ...document.warnings];
  if (second !== undefined) errors.push({ code: "MULTIPLE_DOCS", pos: [second.range[0], second.range[0]] });
  if (errors.length > 0) {
    const message = (code: string) => SYNTAX[code] ?? `is no YAML (${code})`;
    return { ...nothing, problems: errors.map(({ code, pos }) => ({ path: "", ...placeAt(lineCounter, pos[0]), message: message(code) })) };
  }
  return new Reading(yaml, document, lineCounter).read();
}

/** Turns the document's nodes into data: once, with a bound, and noting the places. */
class Reading {
  readonly #yaml: typeof import("yaml");
  readonly #document: Document.Parsed;
  readonly #lineCounter: LineCounter;
  readonly #sources = new SettingSources();
  readonly #problems: ConfigProblem[] = [];
  #values = 0;

  constructor(yaml: typeof import("yaml"), document: Document.Parsed, lineCounter: LineCounter) {
    this.#yaml = yaml;
    this.#document = document;
    this.#lineCounter = lineCounter;
  }

  read(): ParsedFile {
    const data = this.#value(this.#document.contents, []);
    const isEmpty = data === undefined;
    if (!isEmpty && !isRecord(data)) this.#refuse([], this.#document.contents, "is no configuration: write sections with keys below them");
    return { data: isRecord(data) ? data : {}, sources: this.#sources, problems: this.#problems };
  }

  /** Undefined for what is left empty: the default holds there. */
  #value(node: Node | null, path: readonly string[]): unknown {
    this.#values += 1;
    if (this.#values === MOST_VALUES + 1) this.#refuse(path, node, "makes the configuration too large: it repeats itself by aliases");
    if (this.#values > MOST_VALUES) return undefined;
    if (path.length > MOST_LEVELS) return this.#refuse(path, node, "is nested too deeply");
    const { isAlias, isMap, isSeq, isScalar } = this.#yaml;
    if (isAlias(node)) {
      const target = node.resolve(this.#document);
      return target === undefined ? this.#refuse(path, node, "is an alias (`*…`) of nothing above it") : this.#value(target, path);
    }
    if (isMap(node)) return this.#map(node.items as Pair<Node, Node | null>[], path);
    if (isSeq(node)) return node.items.map((item, index) => this.#item(item as Node, [...path, String(index)]));
    return isScalar(node) ? (node.value ?? undefined) : undefined;
  }

  #item(node: Node, path: readonly string[]): unknown {
    this.#sources.inFile(path.join("."), this.#place(node), this.#place(node));
    return this.#value(node, path) ?? null;
  }

  #map(pairs: readonly Pair<Node, Node | null>[], path: readonly string[]): Record<string, unknown> {
    const entries = new Map<string, unknown>();
    const lines = new Map<string, number>();
    for (const { key, value } of pairs) {
      const name = this.#yaml.isScalar(key) ? String(key.value) : undefined;
      if (name === undefined) {
        this.#refuse(path, key, "has a key that is no plain word");
        continue;
      }
      const at = [...path, name];
      const first = lines.get(name);
      if (first !== undefined) {
        this.#refuse(at, key, `is there twice, first in line ${first}: keep one of them`);
        continue;
      }
      const place = this.#place(key);
      lines.set(name, place.line);
      const data = this.#value(value, at);
      this.#sources.inFile(at.join("."), place, data === undefined ? undefined : this.#place(value));
      entries.set(name, data);
    }
    return Object.fromEntries(entries);
  }

  #refuse(path: readonly string[], node: Node | null, message: string): undefined {
    this.#problems.push({ path: path.join("."), ...this.#place(node), message });
  }

  #place(node: Node | null): Place {
    return placeAt(this.#lineCounter, node?.range?.[0] ?? 0);
  }
}

function placeAt(lineCounter: LineCounter, offset: number): Place {
  const { line, col } = lineCounter.linePos(offset);
  return { line, column: col };
}

/**
 * Where brackets or dashes are nested so deeply that no configuration is meant. Looked for before parsing: the parser recurses, and where the
 * stack ends it can take the process with it.
 */
function deepPlace(text: string): Place | undefined {
  const indicators = new RegExp(`(?:[-?:][ \\t]+){${MOST_LEVELS}}`).exec(text);
  if (indicators !== null) return placeOf(text, indicators.index);
  let depth = 0;
  for (const { 0: bracket, index } of text.matchAll(/[[\]{}]/g)) {
    depth = Math.max(0, depth + (bracket === "[" || bracket === "{" ? 1 : -1));
    if (depth > MOST_LEVELS) return placeOf(text, index);
  }
  return undefined;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
