/** The text search configurations that documents use. */
export type DocumentLanguage = "english" | "german" | "simple";

const FREQUENT_WORDS: Readonly<Record<Exclude<DocumentLanguage, "simple">, ReadonlySet<string>>> = {
  german: new Set(
    "der die das und ist nicht ein eine einen einer eines für mit von zu den dem des im auf wird werden sich auch bei nach oder wie wer wo was kann muss sind als aus durch über ich wir sie es".split(
      " ",
    ),
  ),
  english: new Set(
    "the and is not a an of to in for with on are be that this it by from or as at how who where what can must you we they was has have will which i".split(
      " ",
    ),
  ),
};

/**
 * The language of a text by its frequent words: german, english, or simple (no stemming) where neither is clear.
 * @example
 * ```ts
 * detectLanguage("Die Genehmigung ist für den Bau nötig."); // "german"
 * ```
 */
export function detectLanguage(text: string): DocumentLanguage {
  const words =
    text
      .slice(0, 4000)
      .toLowerCase()
      .match(/\p{L}+/gu) ?? [];
  const count = (language: "german" | "english"): number => words.filter((word) => FREQUENT_WORDS[language].has(word)).length;
  const [german, english] = [count("german") + (/[äöüß]/i.test(text.slice(0, 4000)) ? 1 : 0), count("english")];
  if (german === english) return "simple";
  return german > english ? "german" : "english";
}
