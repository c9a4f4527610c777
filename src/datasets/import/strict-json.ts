import type { Problem } from "./record.js";

/** Levels of objects and arrays; no format that is read here needs more than ten. */
const MAX_DEPTH = 64;

/**
 * Parses JSON from a stranger: at most 64 levels deep, no key twice in one object (readers disagree about which one counts), no `__proto__`.
 * @example
 * ```ts
 * parseStrictJson('{"a":1,"a":2}'); // { code: "duplicate_key", message: "the key \"a\" stands twice in one object" }
 * ```
 */
export function parseStrictJson(text: string): { value: unknown } | Problem {
  try {
    return findTrap(text) ?? { value: JSON.parse(text) };
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return { code: "invalid_json", message: "it is not JSON" };
  }
}

/** Looks at brackets and keys only; whether it is JSON at all is for the parser to say. */
function findTrap(text: string): Problem | null {
  const levels: (Set<string> | null)[] = [];
  let isKey = false;
  for (let index = 0; index < text.length; index += 1) {
    const character = text[index];
    if (character === '"') {
      const end = endOfString(text, index);
      if (isKey) {
        const key: string = JSON.parse(text.slice(index, end));
        const known = levels.at(-1);
        if (key === "__proto__") return { code: "forbidden_key", message: 'the key "__proto__" is not allowed' };
        if (known?.has(key))
          return { code: "duplicate_key", message: `the key ${JSON.stringify(key.slice(0, 60))} stands twice in one object` };
        known?.add(key);
        isKey = false;
      }
      index = end - 1;
    } else if (character === "{" || character === "[") {
      levels.push(character === "{" ? new Set() : null);
      isKey = character === "{";
      if (levels.length > MAX_DEPTH) return { code: "json_too_deep", message: `it has more than ${MAX_DEPTH} levels` };
    } else if (character === "}" || character === "]") {
      levels.pop();
      isKey = false;
    } else if (character === ",") {
      isKey = levels.at(-1) instanceof Set;
    }
  }
  return null;
}

/** The index after the closing quote; the end of the text where there is none. */
function endOfString(text: string, start: number): number {
  for (let quote = text.indexOf('"', start + 1); quote !== -1; quote = text.indexOf('"', quote + 1)) {
    let backslashes = 0;
    while (text[quote - 1 - backslashes] === "\\") backslashes += 1;
    if (backslashes % 2 === 0) return quote + 1;
  }
  return text.length;
}
