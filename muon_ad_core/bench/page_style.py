# SPDX-License-Identifier: Apache-2.0
"""The style sheet of report pages: light and dark, from phones to wide screens, nothing loaded from elsewhere."""

STYLE_SHEET = """
:root { --paper: #ffffff; --ink: #1c2430; --faint: #667085; --rule: #dfe3ea; --panel: #f5f7fa;
  --c1: #2563c9; --c2: #d9730d; --c3: #8b95a5; --c4: #7a4bc4; --good: #18794e; --bad: #c62a2f; --stall: #e5484d44; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #14181f; --ink: #e4e8ee; --faint: #9aa4b2; --rule: #2c3440; --panel: #1c222b;
    --c1: #6ea8fe; --c2: #f2a25c; --c3: #7c8798; --c4: #b497f0; --good: #4cc38a; --bad: #ff8589; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1088px; margin: 0 auto; padding: 24px; }
h1 { font-size: 28px; line-height: 1.2; margin: 8px 0; }
h2 { font-size: 20px; margin: 44px 0 4px; }
p { max-width: 72ch; margin: 6px 0 12px; }
.note, figcaption, footer { color: var(--faint); font-size: 14px; max-width: 90ch; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(158px, 1fr)); gap: 12px; margin: 20px 0; }
.tile { background: var(--panel); border-radius: 8px; padding: 12px 14px; border-left: 4px solid var(--good); }
.tile.missed { border-left-color: var(--bad); }
.tile b { display: block; font-size: 25px; line-height: 1.25; font-weight: 650; }
.tile span { display: block; font-size: 13px; color: var(--faint); line-height: 1.35; }
.tile .verdict { color: var(--good); } .tile.missed .verdict { color: var(--bad); }
h3 { font-size: 16px; margin: 24px 0 0; }
details { margin: 10px 0; } summary { cursor: pointer; color: var(--faint); font-size: 14px; }
figure { margin: 12px 0; } img { max-width: 100%; height: auto; border-radius: 6px; display: block; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 14px; margin: 8px 0; }
th, td { text-align: left; padding: 5px 18px 5px 0; border-bottom: 1px solid var(--rule); vertical-align: top; }
th { color: var(--faint); font-weight: 500; } td.number, th.number { text-align: right; }
.plot svg { max-width: 100%; height: auto; display: block; } .plot .narrow { display: none; }
.bars { display: grid; grid-template-columns: max-content 1fr; gap: 6px 12px; font-size: 14px; align-items: center;
  max-width: 760px; }
.bars .track { background: var(--panel); border-radius: 4px; }
.bars .fill { background: var(--c1); border-radius: 4px; min-width: 2px; height: 22px; }
.bars .value { display: block; padding: 0 8px; white-space: nowrap; line-height: 22px; color: var(--ink); }
.legend { font-size: 14px; color: var(--faint); max-width: none; }
.legend i { display: inline-block; width: 14px; height: 4px;
  border-radius: 2px; margin: 0 6px 3px 14px; } .legend i:first-child { margin-left: 0; }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); paint-order: stroke; stroke: var(--paper);
  stroke-width: 3px; stroke-linejoin: round; }
svg text.plain { stroke: none; } svg .faint { fill: var(--faint); }
svg .end { text-anchor: end; } svg .middle { text-anchor: middle; }
svg .grid { stroke: var(--rule); fill: none; } svg .axis { stroke: var(--faint); fill: none; }
svg .dots { fill: none; stroke-width: 4; stroke-linecap: round; } svg .line { fill: none; stroke-width: 2; }
svg .c1 { stroke: var(--c1); } svg .c2 { stroke: var(--c2); } svg .dots.c3 { stroke: var(--c3); }
svg .c4 { stroke: var(--c4); }
svg .line.c3 { stroke: var(--c3); stroke-dasharray: 5 4; } svg .bar.c1 { fill: var(--c1); stroke: none; }
svg .over { stroke: var(--bad); } svg .lost { fill: var(--bad); } svg .stall { fill: var(--stall); }
svg .mark { fill: none; stroke-width: 1.5; } svg .deadline { stroke: var(--bad); stroke-dasharray: 6 4; }
svg .deadline-text { fill: var(--bad); } svg .percentile { stroke: var(--ink); } svg .strip0 { fill: var(--rule); }
svg .strip1 { fill: var(--panel); stroke: var(--rule); }
code { background: var(--panel); border-radius: 4px; padding: 1px 5px; font-size: 14px; }
i.c1 { background: var(--c1); } i.c2 { background: var(--c2); } i.c3 { background: var(--c3); }
i.c4 { background: var(--c4); }
i.bad { background: var(--bad); } i.stall { background: var(--stall); }
@media (max-width: 700px) {
  main { padding: 14px; } h1 { font-size: 23px; } .plot .wide { display: none; } .plot .narrow { display: block; }
  .bars { grid-template-columns: 1fr; gap: 2px; } .bars .track { margin-bottom: 8px; }
  th, td { padding-right: 10px; } }
""".strip()
