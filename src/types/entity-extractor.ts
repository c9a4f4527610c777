import type { CallOptions } from "./common.js";

/** A thing that a text speaks of. */
export interface ExtractedEntity {
  /** As the text writes it; names are compared without case and punctuation. */
  name: string;
  /** Free word, for example `name`, `code`, `term`. */
  kind?: string;
}

/** Two things that a text connects; both ways are searched. */
export interface ExtractedRelation {
  from: string;
  to: string;
  /** Free word, for example `co-occurs`, `amends`. */
  kind: string;
}

/** What one text speaks of. An entity that is listed again counts more. */
export interface ExtractedGraph {
  entities: ExtractedEntity[];
  relations: ExtractedRelation[];
}

/** Finds entities and relations in texts; one answer for each text, in order. */
export interface EntityExtractor {
  /** Names what it finds: another version that finds something else needs another name, as `plain-v1`. `reextract` goes by it. */
  readonly name: string;
  extract(texts: readonly string[], options?: CallOptions): Promise<ExtractedGraph[]>;
}
