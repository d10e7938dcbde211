/** The page's style: a phone first, light and dark by the reader's setting, and for print. */
export const STYLE = `
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --text: #1b1f24; --muted: #59636e; --line: #d5dae0;
  --old: #8250df; --new: #0969a5; --pass: #116329; --fail: #b3202a; --unsure: #7d4e00; --look: #5f3dc4;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #0d1117; --card: #161b22; --text: #e6edf3; --muted: #9aa5b1; --line: #30363d;
    --old: #bc8cff; --new: #58b6ff; --pass: #4ac26b; --fail: #ff7b72; --unsure: #e0a93b; --look: #b197fc;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--page); color: var(--text); font: 16px/1.5 system-ui, sans-serif; }
main, header, footer { max-width: 72rem; margin: 0 auto; padding: 1rem; }
header { padding-bottom: 0; }
main { padding-top: 0; }
summary { cursor: pointer; padding: 0.75rem 0; color: var(--new); }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0.5rem 0; }
h2 { font-size: 1.25rem; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 0.5rem; }
h4 { font-size: 0.95rem; margin: 1rem 0 0.5rem; }
h2, h3, h4 { break-after: avoid; }
tr { break-inside: avoid; }
p { margin: 0.5rem 0; overflow-wrap: anywhere; }
.verdict { font-size: 1.125rem; }
.muted, figcaption, footer { color: var(--muted); font-size: 0.875rem; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 0.5rem; padding: 1rem; margin: 1rem 0; }
.state { font-weight: 600; white-space: nowrap; }
.pass, .ready, .same, .within-noise { color: var(--pass); }
.fail, .not-ready, .differs { color: var(--fail); }
.unsure { color: var(--unsure); }
.look { color: var(--look); }
table { border-collapse: collapse; width: 100%; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; vertical-align: top; padding: 0.4rem 0.75rem 0.4rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 600; color: var(--muted); }
table.figures td, table.figures th { overflow-wrap: break-word; }
.checks { list-style: none; margin: 0; padding: 0; }
.checks li { padding: 0.4rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 19rem), 1fr)); gap: 1rem; }
figure { margin: 0; break-inside: avoid; }
.narrow { display: none; }
.track { list-style: none; display: flex; flex-wrap: wrap; gap: 0.375rem; margin: 0.5rem 0; padding: 0; font-size: 0.8125rem; }
.track li { padding: 0.2rem 0.6rem; border: 1px solid var(--line); border-radius: 1rem; color: var(--muted); }
.track .behind { border-color: var(--pass); color: var(--pass); }
.track .now { background: var(--new); border-color: var(--new); color: var(--card); font-weight: 600; }
.track .alarm { background: var(--fail); border-color: var(--fail); }
.track .closed { border-style: dashed; }
figure.wide svg { width: 100%; }
figure svg { display: block; max-width: 100%; height: auto; }
.pair { border-bottom: 1px solid var(--line); padding: 0.75rem 0; break-inside: avoid; }
.pictures { display: grid; grid-template-columns: repeat(3, minmax(0, 1fr)); gap: 0.5rem; max-width: 60rem; }
.pictures img { display: block; width: 100%; height: auto; border: 1px solid var(--line); border-radius: 0.25rem; }
a { color: var(--new); }
.downloads a { display: inline-block; padding: 0.5rem 0.75rem; margin: 0 0.5rem 0.5rem 0; border: 1px solid var(--line); border-radius: 0.375rem; }
@media (max-width: 56rem) {
  .wide { display: none; }
  .narrow { display: block; }
}
@media (max-width: 40rem) {
  thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  table, tbody, tr, th[scope='row'], td { display: block; }
  tr { padding: 0.5rem 0; border-bottom: 1px solid var(--line); }
  th[scope='row'] { color: var(--text); }
  th, td { border: 0; padding: 0.1rem 0; }
  td { display: grid; grid-template-columns: 7.5rem 1fr; gap: 0.5rem; }
  td.none { display: none; }
  td::before { content: attr(data-label); color: var(--muted); }
  .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); }
}
@media print {
  :root {
    --page: #fff; --card: #fff; --text: #000; --muted: #444; --line: #bbb;
    --old: #8250df; --new: #0969a5; --pass: #116329; --fail: #b3202a; --unsure: #7d4e00; --look: #5f3dc4;
  }
  body { font-size: 11pt; }
  main, header, footer { max-width: none; padding: 0; }
  section { border: 0; padding: 0; }
  .downloads { display: none; }
  .wide { display: block; }
  .narrow { display: none; }
  .track .now { background: none; color: var(--new); }
  .track .alarm { background: none; color: var(--fail); }
}
`;
