"""The page at `/`: queue and nodes at a glance, read only, without scripts or anything from elsewhere.

Made anew on every request from the same questions that programs ask. Names come from people, so every text is escaped
before it becomes part of the page, and the page forbids scripts altogether.
"""

import base64
import hashlib
from collections.abc import Callable, Iterable, Mapping
from html import escape
from importlib.resources import files
from string import Template
from urllib.parse import urlencode

from adapters.queries import Queries
from adapters.queries.answers import JobLine, NodeLine, NodesAnswer, QueueAnswer, StatusAnswer
from adapters.web.style import STYLE
from domain.errors import BadInput
from domain.job.values import ENDED, JobStatus
from domain.node import NodeStatus
from projections.queue import JobOrder
from projections.words import amount, duration_text, size_text, time_text

ROWS = 200
REFRESH_S = 5
MAX_NAME = 80
_PARAMETERS = frozenset({"status", "all", "refresh"})
_TEMPLATE = Template((files("adapters.web") / "page.html").read_text("utf-8"))
_STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()

HEADERS = {
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Frame-Options": "DENY",
}


def render(queries: Queries, parameters: Mapping[str, str]) -> str:
    """The page: jobs of one status, all that have not ended, or with `all` every job. BadInput for anything else."""
    unknown = sorted(set(parameters) - _PARAMETERS)
    if unknown:
        raise BadInput(problem=f"the page knows no {unknown[0]!r}", place=unknown[0])
    status, everything = parameters.get("status", ""), parameters.get("all", "") == "1"
    refresh = parameters.get("refresh", "1") != "0"
    order = JobOrder.ENDED if status in ENDED else JobOrder.PRIORITY
    jobs = queries.ask("/api/queue", status=status, all=everything, order=order, limit=ROWS)
    found, nodes = queries.ask("/api/status"), queries.ask("/api/nodes")
    assert isinstance(jobs, QueueAnswer)
    assert isinstance(found, StatusAnswer)
    assert isinstance(nodes, NodesAnswer)
    heading = f"{status.capitalize()} jobs" if status else "All jobs" if everything else "Queue"
    return _TEMPLATE.substitute(
        refresh=f'<meta http-equiv="refresh" content="{REFRESH_S}">' if refresh else "",
        title=escape(f"{_live(found)} live jobs – Milepost"),
        style=STYLE,
        filters=_filters(found, status, everything),
        nodes=_nodes(nodes.rows),
        heading=escape(heading),
        jobs=_jobs(jobs),
        footer=_footer(found, parameters, refresh),
    )


# -- parts -------------------------------------------------------------------------------------------------------


def _live(found: StatusAnswer) -> int:
    return sum(count for status, count in found.jobs.items() if status not in ENDED)


def _filters(found: StatusAnswer, chosen: str, everything: bool) -> str:
    links = [_link("/", "live", _live(found), "live", not chosen and not everything)]
    links += [_link(f"/?status={s}", s, found.jobs[s], s, chosen == s) for s in JobStatus]
    links.append(_link("/?all=1", "all", sum(found.jobs.values()), "all", everything))
    return "\n".join(links)


def _link(href: str, word: str, count: int, kind: str, current: bool) -> str:
    mark = ' aria-current="page"' if current else ""
    return f'<a class="chip {kind}" href="{escape(href)}"{mark}><b>{count:,}</b> {escape(word)}</a>'


def _jobs(found: QueueAnswer) -> str:
    if not found.rows:
        return '<p class="empty">No jobs here. <code>milepost submit -- echo hello</code> makes one.</p>'
    more = f'<p class="more">{found.total - len(found.rows):,} more are not shown.</p>'
    head = "".join(
        f'<th scope="col">{name}</th>'
        for name in ("Job", "Client", "Priority", "Status", "Progress", "Tasks", "Waits for", "Age")
    )
    rows = "\n".join(_job(job, found.at_ms) for job in found.rows)
    table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead>\n<tbody>\n{rows}\n</tbody></table></div>'
    return table + (more if found.total > len(found.rows) else "")


def _job(job: JobLine, now_ms: int) -> str:
    name = f'<b>{escape(_short(job.name))}</b><small class="id">{escape(job.job_id)}</small>'
    label = escape(f"{job.progress} percent of {_short(job.name)}")
    bar = f'<progress max="100" value="{job.progress}" aria-label="{label}"></progress><small>{job.progress} %</small>'
    done = f"{job.succeeded:,}<small>/{job.tasks:,}</small>"
    failed = f' <small class="bad">{job.failed:,} failed</small>' if job.failed else ""
    why = escape(job.why or (job.note if job.status in ENDED else ""))
    age = duration_text(max(0, (job.ended_ms or now_ms) - job.submitted_ms))
    when = escape(time_text(job.submitted_ms))
    return (
        f'<tr><th scope="row">{name}</th><td>{escape(job.client_id)}</td>'
        f'<td class="{job.priority}">{job.priority}</td><td>{_badge(job.status)}</td><td class="bar">{bar}</td>'
        f'<td class="number">{done}{failed}</td><td class="why">{why}</td><td title="{when}">{escape(age)}</td></tr>'
    )


def _nodes(rows: Iterable[NodeLine]) -> str:
    cards = [_node(row) for row in rows]
    if not cards:
        return '<p class="empty">No node has registered yet. <code>milepost serve</code> starts the farm.</p>'
    return f'<ul class="nodes">{"".join(cards)}</ul>'


def _node(node: NodeLine) -> str:
    flags = [word for word, holds in (("draining", node.draining), ("suspected", node.suspected)) if holds]
    badges = _badge(node.status) + "".join(_badge(flag) for flag in flags)
    gauges = _gauge(node, "cores", node.used.millicores, node.capacity.millicores, _cores)
    if node.capacity.memory_mib:
        gauges += _gauge(node, "memory", node.used.memory_mib, node.capacity.memory_mib, size_text)
    if node.capacity.gpus:
        gauges += _gauge(node, "GPUs", node.used.gpus, node.capacity.gpus, str)
    why = f'<p class="why">{escape(node.why)}</p>' if node.why else ""
    idle = "" if node.status is NodeStatus.ONLINE else " off"
    return f'<li class="node{idle}"><h3>{escape(node.node_id)}</h3><p>{badges}</p>{gauges}{why}</li>'


def _gauge(node: NodeLine, what: str, used: int, there: int, text: Callable[[int], str]) -> str:
    label = escape(f"{what} in use on {node.node_id}")
    numbers = escape(f"{text(used)} of {text(there)}")
    return (
        f'<div class="gauge"><span>{what}</span><meter min="0" max="{max(there, 1)}" value="{used}" '
        f'aria-label="{label}"></meter><small>{numbers}</small></div>'
    )


def _cores(millicores: int) -> str:
    return amount("millicores", millicores).partition(" ")[0]


def _badge(word: str) -> str:
    return f'<span class="badge {escape(word)}">{escape(word)}</span>'


def _short(text: str) -> str:
    return text if len(text) <= MAX_NAME else text[: MAX_NAME - 1] + "…"


def _footer(found: StatusAnswer, parameters: Mapping[str, str], refresh: bool) -> str:
    other = {**parameters, "refresh": "0" if refresh else "1"}
    verb = "stop refreshing" if refresh else f"refresh every {REFRESH_S} s"
    behind = f", {found.lag:,} events behind" if found.lag else ""
    return (
        f"<span>{escape(time_text(found.at_ms))}</span><span>log position {found.view_position:,}{behind}</span>"
        f"<span>{found.live_attempts:,} attempts placed</span>"
        f'<span><a href="/?{escape(urlencode(other))}">{verb}</a></span>'
        f'<span>Milepost {escape(found.version)} · <a href="/schema">API</a></span>'
    )
