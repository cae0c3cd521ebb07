/** A bar chart as SVG: a group of bars per operation, milliseconds on a logarithmic axis. */
const COLOURS = ['#1f5fbf', '#8a8f98', '#b8480e', '#c98a00', '#14764a', '#8335c4', '#b3213c'];
const escapeXml = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');

/** @param value (series, group) → ms, or undefined where there is no right result */
export function chart(title, groups, series, value) {
  const [left, width, bar, gap] = [250, 560, 11, 14];
  const values = groups.flatMap((group) => series.map((one) => value(one, group))).filter((v) => v > 0);
  const [low, high] = [
    Math.floor(Math.log10(Math.min(...values))),
    Math.ceil(Math.log10(Math.max(...values))),
  ];
  const x = (v) => left + (width * (Math.log10(v) - low)) / (high - low);
  const parts = [];
  let y = 64;
  series.forEach((one, i) => {
    const at = [20 + (i % 4) * 205, 34 + Math.floor(i / 4) * 15];
    parts.push(
      `<rect x="${at[0]}" y="${at[1] - 8}" width="9" height="9" fill="${COLOURS[i]}"/><text x="${at[0] + 14}" y="${at[1]}">${escapeXml(one)}</text>`,
    );
  });
  for (const group of groups) {
    parts.push(
      `<text x="${left - 8}" y="${y + (series.length * bar) / 2 + 4}" text-anchor="end">${escapeXml(group)}</text>`,
    );
    series.forEach((one, i) => {
      const ms = value(one, group);
      const top = y + i * bar;
      if (ms === undefined)
        parts.push(
          `<text x="${left + 4}" y="${top + 9}" class="small">${escapeXml(one)}: no right result</text>`,
        );
      else
        parts.push(
          `<rect x="${left}" y="${top}" width="${Math.max(1, x(ms) - left).toFixed(1)}" height="${bar - 1}" fill="${COLOURS[i]}"/><text x="${(x(ms) + 4).toFixed(1)}" y="${top + 9}" class="small">${ms < 100 ? ms.toFixed(1) : ms.toFixed(0)}</text>`,
        );
    });
    y += series.length * bar + gap;
  }
  for (let p = low; p <= high; p++) {
    parts.push(
      `<line x1="${x(10 ** p)}" x2="${x(10 ** p)}" y1="60" y2="${y}" stroke="#bbb" stroke-width=".5"/><text x="${x(10 ** p)}" y="${y + 12}" text-anchor="middle">${10 ** p} ms</text>`,
    );
  }
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${left + width + 60} ${y + 24}" font-family="sans-serif" font-size="11"><title>${escapeXml(title)}</title><style>.small{font-size:9px}</style><rect width="100%" height="100%" fill="#fff"/><text x="20" y="18" font-size="13" font-weight="bold">${escapeXml(title)}</text>${parts.join('')}</svg>\n`;
}
