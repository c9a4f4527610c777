import type { Result } from "./harness.ts";

const ROW_HEIGHT = 26;
const LABEL_WIDTH = 330;
const PLOT_WIDTH = 420;

const escapeMarkup = (text: string): string => text.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** The ratios of a run as bars with their intervals; the line marks the baseline. */
export function picture(result: Result): string {
  const most = Math.max(...result.rows.map((row) => row.high), 1.2);
  const x = (ratio: number): number => LABEL_WIDTH + (ratio / most) * PLOT_WIDTH;
  const height = (result.rows.length + 2) * ROW_HEIGHT;
  const width = LABEL_WIDTH + PLOT_WIDTH + 90;
  const rows = result.rows.map((row, index) => {
    const y = (index + 1) * ROW_HEIGHT;
    return [
      `<text x="${LABEL_WIDTH - 8}" y="${y + 14}" text-anchor="end">${escapeMarkup(`${row.contender}, ${row.metric}${row.noisy ? " (NOISY)" : ""}`)}</text>`,
      `<rect x="${LABEL_WIDTH}" y="${y + 4}" width="${(x(row.ratio) - LABEL_WIDTH).toFixed(1)}" height="12" fill="${row.noisy ? "#bbbbbb" : "#4477aa"}"/>`,
      `<line x1="${x(row.low).toFixed(1)}" x2="${x(row.high).toFixed(1)}" y1="${y + 10}" y2="${y + 10}" stroke="#222" stroke-width="2"/>`,
      `<text x="${(x(row.high) + 6).toFixed(1)}" y="${y + 14}">${row.ratio.toFixed(2)}</text>`,
    ].join("\n");
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="8" y="16" font-weight="bold">${escapeMarkup(`${result.bench}: ratio to the baseline of each group`)}</text>
<line x1="${x(1).toFixed(1)}" x2="${x(1).toFixed(1)}" y1="${ROW_HEIGHT}" y2="${height - ROW_HEIGHT / 2}" stroke="#888" stroke-dasharray="4 3"/>
${rows.join("\n")}
</svg>
`;
}
