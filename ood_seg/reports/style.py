"""Style sheet and script of the HTML report."""

# Colours after Okabe and Ito, darkened or lightened for a contrast of 3:1 on each ground; lines
# differ in their dashes as well.
STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --panel: #f5f6f8; --ink: #1b1f24; --muted: #57606a; --rule: #d5d9de;
  --grid: #e6e8eb; --warn: #fff3d6; --warn-rule: #b7791f; --accent: #0b62a4;
  --c0: #0072b2; --c1: #c94f00; --c2: #007a5a; --c3: #a63c7c; --c4: #7a6200; --c5: #4b4f56; }
@media screen and (prefers-color-scheme: dark) { :root {
  --paper: #14171b; --panel: #1d2127; --ink: #e8eaed; --muted: #a5adb8; --rule: #3a414a;
  --grid: #2a3038; --warn: #3a2e12; --warn-rule: #e0a63a; --accent: #7cc0f5;
  --c0: #56b4e9; --c1: #f2954a; --c2: #4cc9a0; --c3: #e58ac7; --c4: #e6d24a; --c5: #c3c8cf; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1120px; padding: 1.5rem 1.25rem 4rem; background: var(--paper);
  color: var(--ink); font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial,
  sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.6rem 0 .9rem; padding-top: .6rem;
  border-top: 1px solid var(--rule); }
h3 { font-size: 1rem; margin: 1.4rem 0 .5rem; }
a { color: var(--accent); }
nav ul { display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; list-style: none; padding: 0;
  margin: 1.1rem 0 0; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem; margin: 0; }
dt { color: var(--muted); }
dd { margin: 0; }
.notice { background: var(--warn); border-left: 4px solid var(--warn-rule); padding: .6rem .9rem;
  margin: .8rem 0; }
.scroll { overflow-x: auto; margin: 0 0 1rem; }
.scroll.tall { width: fit-content; max-width: 100%; max-height: 34rem; overflow-y: auto;
  border: 1px solid var(--rule); }
.scroll.tall th[scope=col] { position: sticky; top: 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; overflow-wrap: normal; }
caption { text-align: left; font-weight: 600; padding: 0 0 .4rem; }
.tall caption { padding: .5rem .7rem; }
th, td { padding: .32rem .7rem; border-bottom: 1px solid var(--rule); text-align: right;
  vertical-align: top; }
th { font-weight: 600; }
th[scope=col] { background: var(--panel); vertical-align: bottom; }
tbody th { font-weight: 500; min-width: 8.5em; }
th:first-child, .text { text-align: left; }
td:not(.text) { white-space: nowrap; }
td.text:last-child { min-width: 14rem; }
.best { font-weight: 700; }
th button { all: unset; cursor: pointer; font: inherit; }
th button:focus-visible { outline: 2px solid var(--accent); }
th[aria-sort=ascending] button::after { content: " \\25B2"; }
th[aria-sort=descending] button::after { content: " \\25BC"; }
.note { color: var(--muted); font-size: .9rem; margin: .3rem 0 0; max-width: 48rem; }
.scroll + .note { margin: -.6rem 0 1.2rem; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 400px), 1fr));
  gap: 1.6rem 2rem; align-items: start; margin: 1rem 0; }
.columns > * { min-width: 0; }
.plot { margin: 0; max-width: 560px; }
figcaption { font-weight: 600; margin: 0 0 .3rem; }
.chart { display: block; width: 100%; height: auto; font-size: 13px; }
.tick { fill: var(--muted); }
.name { fill: var(--ink); }
.grid { stroke: var(--grid); }
.axis { stroke: var(--muted); }
.line, .chance { fill: none; stroke: var(--muted); stroke-width: 2; stroke-linejoin: round; }
.bar { stroke-width: 11; opacity: .35; fill: none; }
.s0 { stroke: var(--c0); } .line.s0 { stroke-dasharray: none; } .mark.s0 { fill: var(--c0); }
.s1 { stroke: var(--c1); } .line.s1 { stroke-dasharray: 7 3; } .mark.s1 { fill: var(--c1); }
.s2 { stroke: var(--c2); } .line.s2 { stroke-dasharray: 2 3; } .mark.s2 { fill: var(--c2); }
.s3 { stroke: var(--c3); } .line.s3 { stroke-dasharray: 9 3 2 3; } .mark.s3 { fill: var(--c3); }
.s4 { stroke: var(--c4); } .line.s4 { stroke-dasharray: 12 4; } .mark.s4 { fill: var(--c4); }
.s5 { stroke: var(--c5); } .line.s5 { stroke-dasharray: 4 2; } .mark.s5 { fill: var(--c5); }
.mark[class] { stroke: var(--paper); }
.chance { stroke-dasharray: 2 4; stroke-width: 1.5; }
.threshold { stroke: var(--ink); stroke-width: 1.5; stroke-dasharray: 6 3; }
.mark { fill: var(--muted); stroke: var(--paper); stroke-width: 1.5; }
.area { stroke-width: 1.5; fill-opacity: .3; }
.known { stroke: var(--c0); fill: var(--c0); }
.anomalous { stroke: var(--c1); fill: var(--c1); }
.legend { list-style: none; margin: .3rem 0 0; padding: 0; display: flex; flex-wrap: wrap;
  gap: .1rem 1.1rem; font-size: .9rem; }
.swatch { width: 26px; height: 12px; margin-right: .4rem; }
.toggle { display: flex; flex-wrap: wrap; align-items: center; gap: .4rem; }
.toggle > .plot { order: -1; flex-basis: 100%; }
.switch { font-size: .9rem; margin-right: .6rem; }
#roc-linear:checked ~ .log, #roc-log:checked ~ .linear { display: none; }
.picture { margin: 1.2rem 0 1.8rem; break-inside: avoid; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 250px), 1fr));
  gap: .6rem; }
.panels figure { margin: 0; }
.panels figcaption { font-weight: 400; font-size: .85rem; color: var(--muted); margin: 0; }
.panels img { display: block; width: 100%; height: auto; }
.colours { display: flex; align-items: center; gap: .6rem; font-size: .9rem; }
.colours img { width: 160px; height: 12px; }
.key { display: inline-block; width: .9em; height: .9em; margin-right: .4rem;
  border: 1px solid var(--muted); vertical-align: -.1em; }
@media (max-width: 560px) { body { padding: 1rem .8rem 3rem; } dl { grid-template-columns: 1fr; }
  dd { margin-bottom: .4rem; } .plot .tick, .plot .name { font-size: 15px; } }
@media print { body { max-width: none; padding: 0; font-size: 10pt; } nav, .switch, .toggle > input
  { display: none; } .scroll, .scroll.tall { overflow: visible; max-height: none; border: 0; }
  .scroll.tall th[scope=col] { position: static; } .plot, .notice, tr { break-inside: avoid; }
  .columns { grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
  h2, h3, caption { break-after: avoid; } .toggle > .log, .toggle > .linear
  { display: block !important; } .area, .mark, .key, .notice, th, img
  { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""

# Makes the columns of tables of the class "sortable" sort by click; what is no number comes last.
SCRIPT = """
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const text = row.cells[column].textContent;
    return column ? parseFloat(text.replaceAll(",", "")) : text;
  };
  const order = (a, b) => typeof a === "string" ? a.localeCompare(b, "en", {numeric: true}) : a - b;
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    button.title = "sort";
    head.append(button);
    button.addEventListener("click", () => {
      const falling = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", falling ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [value(row, column), row]);
      rows.sort(([a], [b]) => Number.isNaN(a) - Number.isNaN(b) ||
        (falling ? -1 : 1) * order(a, b) || 0);
      table.tBodies[0].append(...rows.map(([, row]) => row));
    });
  });
}
"""
