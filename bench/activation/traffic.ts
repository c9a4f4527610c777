/** What engines and contenders of the activation bench agree on. */
export const QUESTION = "Who answers?";
/** Tokens of a streamed answer; each names the version that made it. */
export const TOKENS = 32;
/** Milliseconds between the tokens of one answer, as of a model of eight billion parameters on one GPU. */
export const TOKEN_MS = 10;
/** Milliseconds in which an engine reads an adapter's weights and makes no token. */
export const LOAD_MS = 50;

/** Folder of a version on the engines' machine; in it lie the weights of that name. */
export const folderOf = (version: string): string => `adapters/${version}`;
export const weightsIn = (folder: string | null): string => folder?.replace("adapters/", "") ?? "base";
