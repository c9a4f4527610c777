export { type CachedEmbedderOptions, cached } from "./cached-embedder.js";
export { type ContentWord, contentWord, contentWordsOf, stemOf } from "./content-words.js";
export { foldText, wordsOf } from "./fold-text.js";
export { FUNCTION_WORDS } from "./function-words.js";
export { LexicalEmbedder, type LexicalEmbedderOptions } from "./lexical-embedder.js";
export { OpenAiCompatibleEmbedder, type OpenAiCompatibleEmbedderOptions } from "./openai-compatible-embedder.js";
export { RuntimeEmbedder, type RuntimeEmbedderOptions } from "./runtime-embedder.js";
