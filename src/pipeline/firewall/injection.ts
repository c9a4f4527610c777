/**
 * Sentences that speak to a model or a judge, not to a person; English and German. After OWASP Top 10 for LLM applications, LLM01
 * "Prompt injection". A list finds what is crude; what is fine is held down by the caps per person and per cluster, and by the gate.
 */
const PATTERNS: readonly { name: string; pattern: RegExp }[] = [
  {
    name: "asks to ignore earlier instructions",
    pattern:
      /\b(?:ignore|disregard|forget|override|ignorier\w{0,3}|vergiss|missachte\w{0,2})\b.{0,40}\b(?:previous|prior|above|earlier|all|any|your|vorherig\w{0,2}|bisherig\w{0,2}|obig\w{0,2}|alle\w?|deine\w?)\b.{0,40}\b(?:instructions?|prompts?|rules?|rubric|guidelines?|context|anweisung(?:en)?|regeln?|vorgaben?|kontext)\b/is,
  },
  {
    name: "gives the model another role",
    pattern:
      /\b(?:you are now|from now on you|act as (?:an? )?(?:unrestricted|jailbroken|dan)\b|du bist (?:jetzt|ab jetzt|nun)|ab sofort bist du)/i,
  },
  {
    name: "asks for hidden instructions",
    pattern:
      /\b(?:reveal|print|show|repeat|output|verrate|zeige?|wiederhole)\b.{0,40}\b(?:system ?prompt|hidden instructions?|system ?anweisung(?:en)?)\b/is,
  },
  {
    name: "dictates a verdict to a judge",
    pattern:
      /\b(?:score|rate|grade|bewerte\w?|vergib)\b.{0,30}\b(?:this|it|me|the (?:answer|response)|dies\w{0,2}|die antwort)?.{0,20}\b(?:1\.0|10\s?\/\s?10|100\s?%|maximum|full marks|highest|höchst\w{0,3}|volle punktzahl)/is,
  },
  {
    name: "carries marks of a chat template",
    pattern: /<\|(?:im_start|im_end|system|user|assistant|endoftext|eot_id)\|>|\[\/?INST\]|<<\/?SYS>>|<\/?s>\s*\[INST\]/i,
  },
  { name: "poses as a system message", pattern: /^\s{0,8}(?:#{1,6}\s*)?(?:system|system prompt|assistant)\s*:\s*\S/im },
];

/** Long texts are answered by their size elsewhere; this is where patterns stop looking. */
const MAX_CHARACTERS = 16_384;

/** What the text tries; null where it tries nothing that is known. */
export function findInjection(text: string): string | null {
  const looked = text.slice(0, MAX_CHARACTERS);
  return PATTERNS.find(({ pattern }) => pattern.test(looked))?.name ?? null;
}
