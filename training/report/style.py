"""How the page looks: readable in light and dark, on a desk and on a telephone, and on paper."""

# Line colours that stay apart for every kind of sight (Okabe and Ito), darker for light grounds.
STYLE = """
:root {
  color-scheme: light dark;
  --ground: #ffffff; --card: #f6f7f9; --ink: #1b2027; --faint: #5b6675; --line: #d6dbe2;
  --c0: #0060a8; --c1: #b84a00; --c2: #00795a; --c3: #a0457f; --c4: #8a6a00; --c5: #3c7fb1;
  --c6: #6b5bd2; --c7: #4e7a27; --c8: #b3273a; --c9: #586273;
  --good: #00703c; --fair: #8a5a00; --bad: #b3261e;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #14181d; --card: #1d2229; --ink: #e8ebef; --faint: #a3adba; --line: #38414d;
    --c0: #6cb6ff; --c1: #ff9e57; --c2: #3fd1a4; --c3: #f093cf; --c4: #e8c547; --c5: #9fd0f0;
    --c6: #b3a6ff; --c7: #a5d27c; --c8: #ff8a94; --c9: #b9c2cf;
    --good: #5fd08f; --fair: #f0bd5b; --bad: #ff8f86;
  }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
main { max-width: 62rem; margin: 0 auto; padding: 1.5rem 1rem 4rem; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.75rem 0 .5rem; padding-top: .75rem;
  border-top: 1px solid var(--line); }
h3 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .5rem 0; max-width: 46rem; }
.faint, figcaption { color: var(--faint); font-size: .9rem; }
.verdict { border-left: .4rem solid var(--faint); background: var(--card);
  padding: .75rem 1rem; margin: 1rem 0; border-radius: .25rem; }
.verdict p { max-width: none; margin: .25rem 0; }
.verdict .answer { font-weight: 650; font-size: 1.1rem; }
.yes { border-color: var(--good); } .yes .answer { color: var(--good); }
.part { border-color: var(--fair); } .part .answer { color: var(--fair); }
.no { border-color: var(--bad); } .no .answer { color: var(--bad); }
.missing { color: var(--faint); font-style: italic; }
figure { margin: 1rem 0; }
figcaption { margin-top: .35rem; max-width: 46rem; }
.scroll { overflow-x: auto; max-width: 100%; }
.grid { display: grid; gap: .5rem 1.5rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 26rem), 1fr)); }
table { border-collapse: collapse; font-size: .92rem; margin: .5rem 0; }
th, td { padding: .3rem .7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; text-align: left; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.text { white-space: nowrap; }
.facts th { color: var(--faint); font-weight: 500; white-space: nowrap; }
.facts td { overflow-wrap: anywhere; min-width: 9rem; }
details { margin: .75rem 0; }
summary { cursor: pointer; color: var(--faint); }
svg { display: block; width: 100%; height: auto; font: 13px system-ui, sans-serif; }
svg text { fill: var(--faint); } svg .name { fill: var(--ink); font-weight: 600; }
svg .rule { stroke: var(--line); } svg .limit { stroke: var(--faint); stroke-dasharray: 5 4; }
.legend { display: flex; flex-wrap: wrap; gap: .1rem 1rem; font-size: .85rem; color: var(--ink); }
.legend span::before { content: ""; display: inline-block; width: .8rem; height: .8rem;
  border-radius: .2rem; background: var(--own); margin-right: .35rem; vertical-align: -.08rem; }
.sheet { border-collapse: separate; border-spacing: 3px; margin: 0; }
.sheet td, .sheet th { border: 0; padding: 0 2px; text-align: center; font-size: .75rem;
  color: var(--faint); font-weight: 500; line-height: 1.25; }
code { font: .92em ui-monospace, "DejaVu Sans Mono", monospace; }
.sheet img { display: block; width: 76px; height: 76px; margin: 0 auto;
  image-rendering: pixelated; border-radius: 3px; background: var(--card); }
.sheet .label { display: block; max-width: 82px; overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; margin: 0 auto; }
.sheet .same { color: var(--good); font-weight: 600; }
.sheet .first { padding-right: 10px; }
@media (max-width: 30rem) {
  body { font-size: 15px; } main { padding: 1rem .75rem 3rem; }
  th, td { padding: .25rem .45rem; } .sheet img { width: 56px; height: 56px; }
  .sheet .label { max-width: 60px; }
}
@media print { details > *:not(summary) { display: block; } }
"""
