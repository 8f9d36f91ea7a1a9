"""How the report looks: light, the reader's own fonts, tables that scroll sideways on a phone, fit to be printed."""

from __future__ import annotations

STYLE = """
:root { color-scheme: light; --ink: #0f172a; --soft: #475569; --line: #e2e8f0; --lead: #eff6ff; }
* { box-sizing: border-box; }
body { margin: 0; color: var(--ink); background: #f8fafc; font: 16px/1.55 system-ui, sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1rem; }
header, section { background: #fff; border: 1px solid var(--line); border-radius: .6rem; padding: 1.1rem 1.3rem;
  margin: 0 0 1rem; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: .1rem 0 .6rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: .1rem 0 .8rem; }
p { margin: .6rem 0; max-width: 46rem; }
.summary { font-size: 1.06rem; }
.beware { background: #fef3c7; border-left: 4px solid #b45309; padding: .5rem .8rem; }
.scroll { overflow-x: auto; margin: .4rem 0 1rem; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; color: var(--soft); padding: .2rem 0; }
th, td { padding: .34rem .6rem; border-bottom: 1px solid var(--line); text-align: right; }
td { white-space: nowrap; }
.prose { text-align: left; }
thead th { color: var(--soft); font-weight: 600; vertical-align: bottom; }
th:first-child { text-align: left; padding-left: .2rem; }
tbody th { font-weight: 400; }
tr.lead > * { background: var(--lead); font-weight: 600; }
figure { margin: 1rem 0; max-width: 40rem; }
figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; height: auto; display: block; }
svg text { font: 13px system-ui, sans-serif; fill: #475569; }
.legend { list-style: none; display: flex; flex-wrap: wrap; gap: .2rem 1.1rem; padding: 0; margin: .3rem 0 0;
  font-size: .88rem; }
.swatch { display: inline-block; width: 1.4rem; border-top: 4px solid; margin-right: .4rem; vertical-align: middle; }
.swatch.dashed { border-top-style: dashed; }
article { border-bottom: 1px solid var(--line); padding: .45rem 0; }
article p, article ul { margin: .2rem 0; max-width: none; }
article ul, article summary { font-size: .92rem; }
summary { cursor: pointer; overflow-wrap: anywhere; }
details ol { font-size: .92rem; margin: .4rem 0 .4rem 1rem; }
details li { overflow-wrap: anywhere; }
@media (max-width: 40rem) { main { padding: .4rem; } header, section { padding: .8rem; border-radius: .4rem; } }
@media print { body { background: #fff; } article { break-inside: avoid; } }
""".strip()
