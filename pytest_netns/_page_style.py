"""How the page of benchmarks looks: by day, by night, on paper, and on a phone."""

from __future__ import annotations

#: The colours of paths can be told apart by the colour-blind (they come from Okabe
#: and Ito's set, darkened or lightened until the contrast with what is behind them
#: is 4.5 or more, as WCAG 2.2 asks for in 1.4.3), and lines also by their dashes.
STYLE = """
:root {
  color-scheme: light dark;
  --page: #f4f5f7; --card: #ffffff; --edge: #dfe3e8; --grid: #dfe3e8;
  --ink: #1b2430; --muted: #566171; --link: #00609c;
  --better: #006b50; --worse: #a83a00; --doubt: #7a4d00; --doubt-card: #fff6df;
  --doubt-edge: #ecd08a;
  --path-0: #5f6b7a; --path-1: #0072b2; --path-2: #c0440a; --path-3: #007a5e;
  --path-4: #8a4c9e; --path-5: #856000; --path-6: #b02f69;
}
@media screen and (prefers-color-scheme: dark) {
  :root {
    --page: #0f1319; --card: #181d25; --edge: #2c343f; --grid: #2f3844;
    --ink: #e8ecf1; --muted: #a3aebc; --link: #7cc4f5;
    --better: #56d8b0; --worse: #ffa07a; --doubt: #f2c968; --doubt-card: #2b2412;
    --doubt-edge: #5f4d1d;
    --path-0: #a6b1bf; --path-1: #5cb8f0; --path-2: #ff9468; --path-3: #40cfa5;
    --path-4: #d09ee2; --path-5: #deb64a; --path-6: #f58ab5;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 72rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
    "Liberation Sans", Arial, sans-serif;
  font-variant-numeric: tabular-nums; overflow-wrap: anywhere;
}
h1, h2, h3, p, dl, dd, ol, ul, figure, pre { margin: 0; padding: 0; }
h1 { font-size: 1.75rem; line-height: 1.2; letter-spacing: -0.015em; }
h2 { font-size: 1.3rem; line-height: 1.3; letter-spacing: -0.01em; }
h3 { font-size: 0.95rem; font-weight: 600; }
a { color: var(--link); text-underline-offset: 0.15em; }
a:focus-visible, [tabindex]:focus-visible {
  outline: 2px solid var(--link); outline-offset: 2px;
}
code, pre {
  font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono",
    "Liberation Mono", monospace;
}
.quiet { color: var(--muted); font-size: 0.9rem; }
.facts {
  display: flex; flex-wrap: wrap; gap: 0.4rem 2rem; margin-top: 1rem;
}
.facts dt { color: var(--muted); font-size: 0.8rem; }
.facts dd { font-size: 0.9rem; }
nav { margin-top: 1.25rem; }
nav ol { padding-left: 1.5rem; }
section {
  margin-top: 1.75rem; padding: 1.5rem; background: var(--card);
  border: 1px solid var(--edge); border-radius: 0.75rem;
}
section > * + * { margin-top: 1.25rem; }
section > h2 + .quiet { margin-top: 0.15rem; }
section.single { --path-0: var(--path-1); }
section.single table { width: auto; min-width: min(100%, 24rem); }
.doubts {
  padding: 0.75rem 1rem; color: var(--doubt); background: var(--doubt-card);
  border: 1px solid var(--doubt-edge); border-radius: 0.5rem; font-size: 0.9rem;
}
.doubts ul { padding-left: 1.1rem; }
.heads { display: flex; flex-wrap: wrap; gap: 1rem 3rem; }
.heads dt { color: var(--muted); font-size: 0.85rem; }
.heads dd:nth-of-type(1) { font-size: 1.9rem; font-weight: 600; line-height: 1.2; }
.heads dd + dd { color: var(--muted); font-size: 0.85rem; }
table { width: 100%; border-collapse: collapse; font-size: 0.92rem; }
th, td {
  padding: 0.45rem 0.75rem; border-top: 1px solid var(--edge);
  text-align: right; vertical-align: top;
}
thead th {
  padding-top: 0; border-top: 0; color: var(--muted); font-weight: 500;
  vertical-align: bottom;
}
tbody th { font-weight: 500; }
th:first-child { padding-left: 0; text-align: left; }
td:last-child, th:last-child { padding-right: 0; }
td span { display: block; }
.interval { color: var(--muted); font-size: 0.82rem; }
small { font-size: 0.82rem; }
.better, .worse { font-size: 0.75rem; font-weight: 400; }
.better { color: var(--better); }
.worse { color: var(--worse); }
.unstable { color: var(--doubt); font-style: italic; }
.legend {
  display: flex; flex-wrap: wrap; gap: 0.25rem 1.5rem; list-style: none;
  font-size: 0.9rem;
}
.legend svg { width: 1.9rem; height: 0.7rem; margin-right: 0.45rem; }
.legend line { stroke-width: 3; }
.plots {
  display: grid; gap: 1.5rem 2rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr));
}
figure > svg {
  display: block; width: 100%; max-width: 34rem; height: auto; margin-top: 0.5rem;
  stroke-linejoin: round; overflow: visible;
}
pre {
  overflow-x: auto; padding: 0.9rem 1rem; border: 1px solid var(--edge);
  border-radius: 0.5rem; background: var(--page); font-size: 0.82rem;
  line-height: 1.35; overflow-wrap: normal; margin-top: 0.4rem;
}
section ul.notes { padding-left: 1.1rem; font-size: 0.9rem; }
footer { margin-top: 2rem; }
footer p { max-width: 46rem; }
@media (max-width: 44rem) {
  body { padding: 1.25rem 0.75rem 3rem; }
  section { padding: 1rem; }
  .several table, .several tbody, .several tr, .several tbody th, .several td {
    display: block;
  }
  .several thead { position: absolute; clip-path: inset(50%); }
  .several tr { padding: 0.5rem 0; border-top: 1px solid var(--edge); }
  .several tbody th, .several td {
    padding: 0.1rem 0; border: 0; text-align: left;
  }
  .several td { display: grid; grid-template-columns: 6.5rem auto; }
  .several td::before { content: attr(data-path); color: var(--muted); }
  .several td > div { display: flex; flex-wrap: wrap; gap: 0 0.6rem; }
  .several td:has(> div:empty) { display: none; }
}
@media print {
  :root { color-scheme: light; --page: #ffffff; }
  body { max-width: none; padding: 0; font-size: 10pt; }
  nav { display: none; }
  section { padding: 0; border: 0; }
  figure, tr, .doubts, pre { break-inside: avoid; }
  h2, h3 { break-after: avoid; }
  pre { white-space: pre-wrap; }
}
"""
