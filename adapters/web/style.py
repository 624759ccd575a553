"""How the page looks, light and dark. In Python, because the page names its hash so that no other style is accepted."""

STYLE = """
:root { --bg: #f6f7f9; --card: #ffffff; --line: #dfe3e8; --text: #16202c; --dim: #5a6676; --accent: #0b6bcb;
  --green: #14713d; --green-bg: #daf3e3; --blue: #0a56a3; --blue-bg: #dcecfc; --amber: #7a4d00; --amber-bg: #fdeecb;
  --red: #a5182b; --red-bg: #fde2e5; --grey: #4b5665; --grey-bg: #e8ebef; }
@media (prefers-color-scheme: dark) {
  :root { --bg: #10151c; --card: #18202a; --line: #2b3644; --text: #e6ebf1; --dim: #9aa7b6; --accent: #6cb2ff;
    --green: #7fe0a6; --green-bg: #143524; --blue: #8fc5ff; --blue-bg: #14304d; --amber: #f2c56b; --amber-bg: #3d2e0d;
    --red: #ff9aa6; --red-bg: #481a22; --grey: #b4bfcc; --grey-bg: #2a3441; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text);
  font: 15px/1.45 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif; }
a { color: var(--accent); }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
.skip { position: absolute; left: -999px; }
.skip:focus { left: 1rem; top: 1rem; background: var(--card); padding: .5rem 1rem; }
header { display: flex; flex-wrap: wrap; gap: .75rem 2rem; align-items: center; padding: 1rem 1.5rem;
  background: var(--card); border-bottom: 1px solid var(--line); }
h1 { display: flex; gap: .5rem; align-items: center; margin: 0; font-size: 1.25rem; letter-spacing: -.01em; }
h1 svg { width: 1.5rem; height: 1.5rem; fill: var(--accent); }
h2 { margin: 0 0 .75rem; font-size: 1rem; }
h3 { margin: 0; font-size: .95rem; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: .4rem; }
main { padding: 1.25rem 1.5rem; display: grid; gap: 1.5rem; }
section { min-width: 0; }
.chip { padding: .2rem .7rem; border: 1px solid var(--line); border-radius: 999px; color: var(--dim);
  text-decoration: none; font-size: .85rem; }
.chip b { color: var(--text); font-variant-numeric: tabular-nums; }
.chip:hover { border-color: var(--accent); }
.chip[aria-current] { border-color: var(--accent); background: var(--blue-bg); color: var(--text); }
.scroll { overflow-x: auto; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
table { width: 100%; border-collapse: collapse; }
th, td { padding: .55rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid var(--line);
  font-weight: 400; }
tbody tr:last-child > * { border-bottom: 0; }
tbody tr:hover { background: color-mix(in srgb, var(--accent) 5%, transparent); }
thead th { color: var(--dim); font-size: .75rem; text-transform: uppercase; letter-spacing: .05em;
  white-space: nowrap; }
tbody th b { display: block; font-weight: 600; overflow-wrap: anywhere; }
small { color: var(--dim); font-size: .8rem; }
.id { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; font-size: .72rem; }
.number { font-variant-numeric: tabular-nums; white-space: nowrap; }
.why { max-width: 26rem; color: var(--dim); overflow-wrap: anywhere; }
.bar { min-width: 8rem; white-space: nowrap; }
.bad { color: var(--red); }
td.critical, td.high { font-weight: 600; }
td.critical { color: var(--red); }
td.low { color: var(--dim); }
progress, meter { width: 5.5rem; height: .6rem; margin-right: .5rem; accent-color: var(--accent);
  vertical-align: middle; }
.badge { display: inline-block; padding: .05rem .55rem; margin-right: .3rem; border-radius: 999px; font-size: .78rem;
  font-weight: 600; color: var(--grey); background: var(--grey-bg); }
.badge.completed, .badge.online { color: var(--green); background: var(--green-bg); }
.badge.running, .badge.starting { color: var(--blue); background: var(--blue-bg); }
.badge.queued, .badge.paused, .badge.draining, .badge.suspected, .badge.maintenance, .badge.stopping {
  color: var(--amber); background: var(--amber-bg); }
.badge.failed, .badge.error { color: var(--red); background: var(--red-bg); }
.nodes { display: grid; grid-template-columns: repeat(auto-fill, minmax(15rem, 1fr)); gap: .75rem; margin: 0;
  padding: 0; list-style: none; }
.node { padding: .8rem 1rem; background: var(--card); border: 1px solid var(--line); border-radius: 10px; }
.node p { margin: .25rem 0 .4rem; }
.node.off { border-style: dashed; }
.gauge { display: grid; grid-template-columns: 3.6rem 1fr auto; gap: .5rem; align-items: center; font-size: .82rem; }
.gauge meter { width: 100%; margin: 0; }
.empty, .more { color: var(--dim); }
code { padding: .1rem .35rem; border-radius: 5px; background: var(--grey-bg); font-size: .85em; }
footer { display: flex; flex-wrap: wrap; gap: .3rem 1.5rem; padding: 0 1.5rem 1.5rem; color: var(--dim);
  font-size: .82rem; }
"""
