import Table, { type TableConstructorOptions } from "cli-table3";

/** Without lines between the rows. */
const COMPACT = { mid: "", "left-mid": "", "mid-mid": "", "right-mid": "" };

/** A table for the terminal: colours only where one reads it, long cells wrapped. */
export function table(rows: readonly (readonly string[])[], options: { head?: string[]; widths?: (number | null)[] } = {}): string {
  const colours = process.stdout.isTTY === true && !process.env.NO_COLOR;
  const settings: TableConstructorOptions = {
    head: options.head ?? [],
    ...(options.widths ? { colWidths: options.widths } : {}),
    wordWrap: true,
    chars: COMPACT,
    style: colours ? { head: ["bold"], border: ["grey"] } : { head: [], border: [] },
  };
  const drawn = new Table(settings);
  drawn.push(...rows.map((row) => [...row]));
  return drawn.toString();
}
