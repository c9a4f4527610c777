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

/**
 * The readable text of a document, by headings; markup is gone, plain text comes back as it is.
 * @example
 * ```ts
 * sectionsOf("# Guide\n## Install\nRun *npm*.", "text/markdown"); // [{ title: "Guide › Install", text: "Run npm." }]
 * ```
 */
export function sectionsOf(content: string, contentType: DocumentContentType): Section[] {
  if (contentType === "text/plain") return [{ title: null, text: content }];
  if (contentType === "text/html") return readHtml(content);
  // Front matter is data about the document, not its text.
  const body = content.replace(/^\uFEFF?---\r?\n[\s\S]*?\r?\n---[ \t]*(?:\r?\n|$)/u, "");
  return readHtml(marked.parse(body, { async: false, gfm: true }));
}

function readHtml(html: string): Section[] {
  const sections: Section[] = [];
  const headings: string[] = [];
  let silent = 0;
  let preformatted = 0;
  let heading: { level: number; text: string } | null = null;
  let text = "";
  const finish = () => {
    const cleaned = text
      .replace(/[ \t]+\n/gu, "\n")
      .replace(/\n{3,}/gu, "\n\n")
      .trim();
    const title = headings
      .filter((one) => one !== undefined && one !== "")
      .join(" › ")
      .slice(0, LONGEST_TITLE);
    if (cleaned !== "") sections.push({ title: title === "" ? null : title, text: cleaned });
    text = "";
  };
  const parser = new Parser({
    onopentag(name) {
      if (SILENT.has(name)) silent += 1;
      const level = levelOf(name);
      if (level > 0 && silent === 0) {
        finish();
        heading = { level, text: "" };
      } else if (PARAGRAPHS.has(name)) text += "\n\n";
      else if (LINES.has(name)) text += "\n";
      else if ((name === "td" || name === "th") && !text.endsWith("\n")) text += " ";
      if (name === "pre") preformatted += 1;
    },
    ontext(data) {
      if (silent > 0) return;
      const piece = preformatted > 0 ? data : data.replace(/\s+/gu, " ");
      if (heading) heading.text += piece;
      else text += text === "" || text.endsWith("\n") ? (preformatted > 0 ? piece : piece.trimStart()) : piece;
    },
    onclosetag(name) {
      if (SILENT.has(name)) silent = Math.max(0, silent - 1);
      if (name === "pre") preformatted = Math.max(0, preformatted - 1);
      if (heading && levelOf(name) === heading.level) {
        headings.length = heading.level - 1;
        headings[heading.level - 1] = heading.text.replace(/\s+/gu, " ").trim();
        heading = null;
      } else if (PARAGRAPHS.has(name)) text += "\n\n";
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
