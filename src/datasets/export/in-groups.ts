/** Bounds of a group: it ends at whichever comes first. */
export interface GroupBounds<T> {
  rows: number;
  /** Sum of `sizeOf` over a group's rows. */
  size: number;
  sizeOf(row: T): number;
}

/** Gathers rows into groups, because most writers and databases cost per call, not per row; large rows make small groups. */
export async function* inGroups<T>(rows: AsyncIterable<T> | Iterable<T>, bounds: GroupBounds<T>): AsyncGenerator<T[]> {
  let group: T[] = [];
  let size = 0;
  for await (const row of rows) {
    group.push(row);
    size += bounds.sizeOf(row);
    if (group.length < bounds.rows && size < bounds.size) continue;
    yield group;
    group = [];
    size = 0;
  }
  if (group.length > 0) yield group;
}
