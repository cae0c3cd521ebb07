/** A self-contained HTML document for people: nothing in it comes from elsewhere, so it can be kept and sent. */
import { CHART_STYLE, escapeHtml } from './chart.js';

const STYLE = `
:root{color-scheme:light dark;--text:#1b2430;--page:#fff;--card:#f4f6f9}
@media (prefers-color-scheme:dark){:root{--text:#e3e8ef;--page:#12161c;--card:#1b212a}}
*{box-sizing:border-box}
body{margin:0 auto;padding:1rem;max-width:76rem;color:var(--text);background:var(--page);font:16px/1.45 system-ui,sans-serif}
h1{margin:.2rem 0;font-size:1.5rem}
h2{margin:1.8rem 0 .6rem;font-size:1.15rem}
figure img{display:block;max-width:100%;height:auto}
h3{margin:1rem 0 .3rem;font-size:1rem}
.state{margin:0 0 .8rem;font-size:1.05rem}
.charts{display:grid;gap:1.5rem;grid-template-columns:repeat(auto-fit,minmax(min(100%,26rem),1fr))}
dl{display:grid;grid-template-columns:fit-content(45%) minmax(0,1fr);gap:.15rem 1rem;margin:0;padding:.7rem .9rem;border-radius:.4rem;background:var(--card)}
dt{color:var(--axis)}
dd{margin:0;overflow-wrap:anywhere}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .8rem .25rem 0;text-align:right;border-bottom:1px solid var(--grid)}
th:first-child,td:first-child{text-align:left;white-space:nowrap}
tr.all td{font-weight:600}
`;

/** The document: `body` is HTML, its empty parts are left out. */
export function htmlDocument(title: string, body: readonly string[]): string {
  return `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeHtml(title)}</title>
<style>${STYLE}${CHART_STYLE}</style>
</head>
<body>
${body.filter(Boolean).join('\n')}
</body>
</html>
`;
}
