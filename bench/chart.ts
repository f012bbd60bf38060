/** The chart: for each workload the ratio of medians to the native disk, on a logarithmic scale. */
import { medianOf, type Results } from "./report.ts";
import { threeDigits } from "./statistics.ts";

const COLOURS = { bindfs: "#b0b0b0", "fuse-overlayfs": "#7a9cc6", tarbox: "#d9772b" } as const;

const LABEL_WIDTH = 260;
const PLOT_WIDTH = 620;
const BAR_HEIGHT = 9;
const ROW_GAP = 8;
const TOP = 64;

function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;");
}

/** An SVG document; shorter bars are better. */
export function chart(results: Results): string {
  const targets = Object.keys(COLOURS) as (keyof typeof COLOURS)[];
  const rows = results.rows.flatMap((row) => {
    const native = medianOf(row, "native");
    if (native === null) return [];
    const ratios = targets.map((target) => (medianOf(row, target) ?? NaN) / native);
    return [{ name: row.name, ratios }];
  });
  const all = rows.flatMap(({ ratios }) => ratios).filter(Number.isFinite);
  const least = Math.min(0.5, ...all) / 1.1;
  const most = Math.max(2, ...all) * 1.1;
  const x = (value: number) =>
    LABEL_WIDTH + PLOT_WIDTH * Math.log(value / least) / Math.log(most / least);
  const rowHeight = targets.length * BAR_HEIGHT + ROW_GAP;
  const height = TOP + rows.length * rowHeight + 20;
  const out = [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${LABEL_WIDTH + PLOT_WIDTH + 70}" ` +
    `height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="100%" height="100%" fill="white"/>`,
    `<text x="10" y="20" font-size="14">Time relative to the native disk (logarithmic; shorter is ` +
    `better), ${results.commit}, medians of ${results.runs}</text>`,
  ];
  targets.forEach((target, i) => {
    const left = 10 + i * 130;
    out.push(`<rect x="${left}" y="30" width="12" height="12" fill="${COLOURS[target]}"/>`);
    out.push(`<text x="${left + 17}" y="41">${target}</text>`);
  });
  for (const tick of [0.1, 0.3, 1, 3, 10, 30, 100].filter((t) => t >= least && t <= most)) {
    const at = x(tick).toFixed(1);
    const stroke = tick === 1 ? "#333" : "#ddd";
    out.push(
      `<line x1="${at}" x2="${at}" y1="${TOP - 6}" y2="${height - 16}" stroke="${stroke}"/>`,
    );
    out.push(`<text x="${at}" y="${height - 4}" text-anchor="middle">${tick}</text>`);
  }
  rows.forEach(({ name, ratios }, i) => {
    const top = TOP + i * rowHeight;
    out.push(
      `<text x="${LABEL_WIDTH - 8}" y="${top + 18}" text-anchor="end">${escape(name)}</text>`,
    );
    ratios.forEach((value, j) => {
      if (!Number.isFinite(value)) return;
      const [left, right] = [Math.min(x(1), x(value)), Math.max(x(1), x(value))];
      const y = top + j * BAR_HEIGHT;
      out.push(
        `<rect x="${left.toFixed(1)}" y="${y}" width="${Math.max(1, right - left).toFixed(1)}" ` +
          `height="${BAR_HEIGHT - 1}" fill="${COLOURS[targets[j]!]}"/>`,
        `<text x="${(right + 4).toFixed(1)}" y="${y + 8}" font-size="9">${
          threeDigits(value)
        }</text>`,
      );
    });
  });
  out.push("</svg>\n");
  return out.join("\n");
}
