const MAX_KEYWORDS = 24;

/** The words that tell a batch's questions apart: by frequency, without those in nearly every question and short ones. */
export function contentKeywords(prompts: readonly string[]): string[] {
  const frequencies = new Map<string, number>();
  for (const prompt of prompts) {
    const words = new Set(
      Array.from(
        prompt
          .slice(0, 4000)
          .toLowerCase()
          .matchAll(/[\p{L}\p{N}]{4,40}/gu),
        (match) => match[0],
      ),
    );
    for (const word of words) frequencies.set(word, (frequencies.get(word) ?? 0) + 1);
  }
  const most = Math.max(2, prompts.length * 0.4);
  return [...frequencies]
    .filter(([, count]) => count <= most)
    .sort(([left, a], [right, b]) => b - a || (left < right ? -1 : 1))
    .slice(0, MAX_KEYWORDS)
    .map(([word]) => word);
}
