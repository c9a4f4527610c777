import { Parser } from "htmlparser2";
import { marked } from "marked";
import type { DocumentContentType } from "../../types/index.js";

/** A piece of a document under one heading. */
export interface Section {
  /** Headings from the outermost in, joined by " › "; null before the first one. */
  title: string | null;
  text: string;
}

/** Their text is no text for readers. */
const SILENT = new Set(["script", "style", "noscript", "template", "head", "svg", "iframe", "object"]);
const PARAGRAPHS = new Set("p div section article main header footer aside nav ul ol dl table blockquote pre figure hr form".split(" "));
const LINES = new Set("br li tr dt dd option figcaption caption".split(" "));
const LONGEST_TITLE = 512;
/** Elements inside one another. Browsers stop at 512; beyond some thousands the parsers' time grows with the square, and their stack ends. */
const DEEPEST = 1_000;
/** Quotes and lists that one line of Markdown may open within one another, and the column in which the last of them may begin. */
const DEEPEST_LINE = 100;
const LAST_COLUMN = 400;
const CONTAINER = /[ \t]*(?:>|(?:[-+*]|\d{1,9}[.)])(?=[ \t]|$))/y;

/** More elements inside one another than a document can mean. */
class TooDeep extends Error {}

/**
 * The readable text of a document, by headings; markup is gone, plain text comes back as it is. Null where its elements are nested too deeply to be read.
 * @example
 * ```ts
 * sectionsOf("# Guide\n## Install\nRun *npm*.", "text/markdown"); // [{ title: "Guide › Install", text: "Run npm." }]
 * ```
 */
export function sectionsOf(content: string, contentType: DocumentContentType): Section[] | null {
  if (contentType === "text/plain") return [{ title: null, text: content }];
  try {
    return readHtml(contentType === "text/html" ? content : toHtml(content));
  } catch (error) {
    // The Markdown parser calls itself for each block within a block.
    if (error instanceof TooDeep || error instanceof RangeError) return null;
    throw error;
  }
}

function toHtml(markdown: string): string {
  // Front matter is data about the document, not its text.
  const body = markdown.replace(/^\uFEFF?---\r?\n[\s\S]*?\r?\n---[ \t]*(?:\r?\n|$)/u, "");
  if (body.split("\n").some(isTooDeep)) throw new TooDeep();
  return marked.parse(body, { async: false, gfm: true });
}

function isTooDeep(line: string): boolean {
  let last = 0;
  CONTAINER.lastIndex = 0;
  for (let count = 0; count <= DEEPEST_LINE; count += 1) {
    if (!CONTAINER.test(line)) return last > LAST_COLUMN;
    last = CONTAINER.lastIndex;
  }
  return true;
}

function readHtml(html: string): Section[] {
  const sections: Section[] = [];
  const headings: string[] = [];
  let silent = 0;
  let preformatted = 0;
  let depth = 0;
  let heading: { level: number; text: string } | null = null;
  // Pieces, because looking at the end of a growing string copies all of it each time.
  let pieces: string[] = [];
  const write = (piece: string) => {
    if (piece !== "") pieces.push(piece);
  };
  const isLineStart = () => pieces.length === 0 || pieces.at(-1)!.endsWith("\n");
  const finish = () => {
    const cleaned = pieces
      .join("")
      .replace(/[ \t]+\n/gu, "\n")
      .replace(/\n{3,}/gu, "\n\n")
      .trim();
    const title = headings
      .filter((one) => one !== undefined && one !== "")
      .join(" › ")
      .slice(0, LONGEST_TITLE);
    if (cleaned !== "") sections.push({ title: title === "" ? null : title, text: cleaned });
    pieces = [];
  };
  const parser = new Parser({
    onopentag(name) {
      depth += 1;
      if (depth > DEEPEST) throw new TooDeep();
      if (SILENT.has(name)) silent += 1;
      const level = levelOf(name);
      if (level > 0 && silent === 0) {
        finish();
        heading = { level, text: "" };
      } else if (PARAGRAPHS.has(name)) write("\n\n");
      else if (LINES.has(name)) write("\n");
      else if ((name === "td" || name === "th") && !(pieces.length > 0 && isLineStart())) write(" ");
      if (name === "pre") preformatted += 1;
    },
    ontext(data) {
      if (silent > 0) return;
      const piece = preformatted > 0 ? data : data.replace(/\s+/gu, " ");
      if (heading) heading.text += piece;
      else write(isLineStart() && preformatted === 0 ? piece.trimStart() : piece);
    },
    onclosetag(name) {
      depth -= 1;
      if (SILENT.has(name)) silent = Math.max(0, silent - 1);
      if (name === "pre") preformatted = Math.max(0, preformatted - 1);
      if (heading && levelOf(name) === heading.level) {
        headings.length = heading.level - 1;
        headings[heading.level - 1] = heading.text.replace(/\s+/gu, " ").trim();
        heading = null;
      } else if (PARAGRAPHS.has(name)) write("\n\n");
    },
  });
  parser.end(html);
  finish();
  return sections;
}

/** 1..6 of a heading, else 0. */
function levelOf(name: string): number {
  return /^h[1-6]$/u.test(name) ? Number(name[1]) : 0;
}
