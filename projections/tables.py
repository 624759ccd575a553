"""The read models as tables, in a database of their own: it can be dropped at any time and made anew from the log.

Integer keys are log positions (of the event that made the thing), so a rebuild gives the same rows. Times are
milliseconds since 1970-01-01 UTC. Columns marked as fixed are written once and never updated.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    MetaData,
    StaticPool,
    Table,
    Text,
    and_,
    create_engine,
    event,
    literal_column,
    make_url,
)

METADATA = MetaData()
FIXED = "fixed"
WRITING = {"sqlite_begin": "IMMEDIATE"}
"""Execution options of a transaction that will write: it waits its turn at the beginning, where waiting is possible."""
_PRAGMAS = ("busy_timeout=30000", "journal_mode=WAL", "synchronous=NORMAL", "cache_size=-65536")

_BIG = BigInteger().with_variant(Integer, "sqlite")
"""64 bits everywhere; only `INTEGER` makes SQLite use a key as its row number."""


def _key(name: str, kind: Any = _BIG) -> Column[Any]:
    return Column(name, kind, primary_key=True, autoincrement=False)


def _fixed(name: str, kind: Any = _BIG, nullable: bool = False, unique: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=nullable, unique=unique, info={FIXED: True})


def _col(name: str, kind: Any = _BIG, nullable: bool = False) -> Column[Any]:
    return Column(name, kind, nullable=nullable)


def _null(name: str, kind: Any = _BIG) -> Column[Any]:
    return Column(name, kind, nullable=True)


def _table(name: str, *columns: Any) -> Table:
    return Table(name, METADATA, *columns)


def _index(name: str, *columns: Any, where: ColumnElement[bool]) -> Index:
    """An index over the rows of which something is true."""
    return Index(name, *columns, sqlite_where=where, postgresql_where=where)


def _clustered(name: str, *columns: Any) -> Table:
    """A table that is stored in the order of its key."""
    return Table(name, METADATA, *columns, sqlite_with_rowid=False)


POSITIONS = _clustered(
    "positions",
    _key("name", Text),
    _col("position"),
    _col("shape", Text),
)
"""How far each projection has come, and the shape of its tables."""

# -- queue -------------------------------------------------------------------------------------------------------

JOBS = _table(
    "jobs",
    _key("number"),
    _fixed("job_id", Text, unique=True),
    _fixed("name", Text),
    _fixed("client_id", Text),
    _fixed("workflow_id", Text, nullable=True),
    _fixed("submitted_ms"),
    _fixed("not_before_ms", nullable=True),
    _fixed("walltime_ms", nullable=True),
    _fixed("tasks"),
    _fixed("requirement", Text),
    _col("status", Text),
    _col("priority"),
    _null("deadline_ms"),
    _col("queued", Boolean),
    _col("held", Boolean),
    _col("paused", Boolean),
    _null("queued_ms"),
    _null("started_ms"),
    _null("ended_ms"),
    _col("waiting"),
    _col("delayed"),
    _col("running"),
    _col("succeeded"),
    _col("failed"),
    _col("cancelled"),
    _col("attempts"),
    _col("running_percent"),
    _col("progress"),
    _col("back_off", Text),
    _col("segment", Text),
    _col("why", Text),
    _col("held_by", Text),
    _col("paused_by", Text),
    _col("failure", Text),
    _col("gated"),
)
Index("jobs_of_client", JOBS.c.client_id, JOBS.c.number)
_index("jobs_of_workflow", JOBS.c.workflow_id, JOBS.c.number, where=JOBS.c.workflow_id.is_not(None))
_index("jobs_live", JOBS.c.number, where=JOBS.c.ended_ms.is_(None))

JOB_COUNTS = _clustered("job_counts", _key("status", Text), _col("jobs"))

WORKFLOWS = _table(
    "workflows",
    _key("number"),
    _fixed("workflow_id", Text, unique=True),
    _col("name", Text),
    _col("client_id", Text),
    _col("status", Text),
    _fixed("submitted_ms"),
    _null("ended_ms"),
    _col("archived", Boolean),
    _col("why", Text),
    _col("pending"),
    _col("queued"),
    _col("running"),
    _col("paused"),
    _col("completed"),
    _col("failed"),
    _col("cancelled"),
    _col("tasks"),
    _col("tasks_running"),
    _col("tasks_succeeded"),
    _col("tasks_failed"),
)
Index("workflows_of_client", WORKFLOWS.c.client_id, WORKFLOWS.c.number)

ATTEMPTS = _clustered(
    "attempts",
    _key("job"),
    _key("attempt"),
    _fixed("task"),
    _fixed("host", Text),
    _fixed("nodes", Text),
    _fixed("placed_ms"),
    _null("started_ms"),
    _null("ended_ms"),
    _col("outcome", Text),
    _null("exit_code"),
    _null("signal"),
    _null("failure", Text),
    _col("message", Text),
    _col("cpu_ms"),
    _col("max_rss_mib"),
    _col("progress"),
    _col("status_text", Text),
    _null("stopping", Text),
    _null("restored_from", Text),
    _null("checkpoint_id", Text),
    _null("partial_path", Text),
    _null("partial_quality"),
    _col("partial_cost_ms"),
    _null("preempted_by", Text),
    _null("suspended_ms"),
)

DEPENDENCIES = _table(
    "dependencies",
    _key("number"),
    _fixed("dependency_id", Text, unique=True),
    _fixed("predecessor_id", Text),
    _fixed("successor_id", Text),
    _fixed("type", Text),
    _col("state", Text),
    _col("why", Text),
)
Index("dependencies_of_successor", DEPENDENCIES.c.successor_id)
Index("dependencies_of_predecessor", DEPENDENCIES.c.predecessor_id)

REASONS = _clustered(
    "reasons",
    _key("segment", Text),
    _col("reasons", Text),
    _col("jobs"),
    _col("at_ms"),
)

# -- nodes -------------------------------------------------------------------------------------------------------

NODES = _table(
    "nodes",
    _key("number"),
    _fixed("node_id", Text, unique=True),
    _col("status", Text),
    _col("draining", Boolean),
    _col("suspected", Boolean),
    _col("retired", Boolean),
    _col("why", Text),
    _col("attributes", Text),
    _col("capacity_millicores"),
    _col("capacity_memory_mib"),
    _col("capacity_gpus"),
    _col("capacity_storage_mib"),
    _col("capacity_network_mbps"),
    _col("capacity_named", Text),
    _col("used_millicores"),
    _col("used_memory_mib"),
    _col("used_gpus"),
    _col("used_storage_mib"),
    _col("used_network_mbps"),
    _col("used_named", Text),
    _col("attempts"),
    _col("changed_ms"),
    _col("asleep", Boolean),
)

# -- utilization -------------------------------------------------------------------------------------------------

METERS = _table(
    "meters",
    _key("number"),
    _fixed("kind", Text),
    _fixed("name", Text),
)
USAGE = _clustered(
    "usage",
    _key("meter"),
    _key("minute"),
    _fixed("core_ms"),
    _fixed("millicore_ms_rest"),
    _fixed("gpu_ms"),
    _fixed("count_ms"),
    _fixed("millicores"),
    _fixed("gpus"),
    _fixed("count"),
    _col("steps", Text),
)
"""One row per meter and minute in which it changed: integral and level at the start of the minute, steps within it."""

USAGE_NODES = _clustered(
    "usage_nodes",
    _key("node_id", Text),
    _col("millicores"),
    _col("gpus"),
    _col("online", Boolean),
)


# -- usage -------------------------------------------------------------------------------------------------------

DRAWS = _table(
    "draws",
    _key("number"),
    _fixed("node_id", Text),
    _fixed("client_id", Text, nullable=True),
)
"""What each client holds and draws on each node, and what each node draws idle (no client)."""
DRAWN = _clustered(
    "drawn",
    _key("draw"),
    _key("quarter"),
    _fixed("microjoules"),
    _fixed("cost", Float),
    _fixed("core_ms"),
    _fixed("millicore_ms_rest"),
    _fixed("gpu_ms"),
    _fixed("count_ms"),
    _fixed("node_cost", Float),
    _fixed("milliwatts"),
    _fixed("millicores"),
    _fixed("gpus"),
    _fixed("count"),
    _fixed("price_per_h", Float),
    _col("steps", Text),
)
"""One row per draw and quarter of an hour in which it changed, as in `usage`."""
DRAW_NODES = _clustered(
    "draw_nodes",
    _key("node_id", Text),
    _col("status", Text),
    _col("millicores"),
    _col("gpus"),
    _col("idle_milliwatts"),
    _col("peak_milliwatts"),
    _col("price_per_h", Float),
)
TARIFFS = _clustered("tariffs", _key("position"), _fixed("from_ms"), _fixed("tariff", Text))

# -- forecasts ---------------------------------------------------------------------------------------------------

FORECASTS = _clustered(
    "forecasts",
    _key("job_id", Text),
    _key("position"),
    _fixed("at_ms"),
    _fixed("deadline_ms"),
    _fixed("word", Text),
    _fixed("basis", Text),
    _fixed("earliest_ms", nullable=True),
    _fixed("expected_ms", nullable=True),
    _fixed("latest_ms", nullable=True),
    _fixed("probability", Float, nullable=True),
)
SCORES = _clustered(
    "scores",
    _key("position"),
    _key("job_id", Text),
    _fixed("at_ms"),
    _fixed("ended_ms"),
    _fixed("ended", Text),
    _fixed("made"),
    _fixed("deadline_ms", nullable=True),
    _fixed("late", Boolean, nullable=True),
    _fixed("error_ms", nullable=True),
    _fixed("within", Boolean, nullable=True),
    _fixed("probability", Float, nullable=True),
    _fixed("decile", nullable=True),
    _fixed("brier", Float, nullable=True),
    _fixed("first_error_ms", nullable=True),
    _fixed("first_within", Boolean, nullable=True),
    _fixed("first_probability", Float, nullable=True),
    _fixed("first_decile", nullable=True),
    _fixed("first_brier", Float, nullable=True),
)
"""One row per job and end; `decile` is 0 for a probability below 0.1 up to 9 for one of 0.9 or more."""


# -- what live attempts hold, for nodes, utilization and usage --------------------------------------------------


def _held_jobs(name: str) -> Table:
    return _clustered(
        name,
        _key("job_id", Text),
        _fixed("client_id", Text),
        _fixed("resources", Text),
        _col("ended", Boolean),
    )


def _held_attempts(name: str) -> Table:
    return _clustered(name, _key("job_id", Text), _key("attempt"), _fixed("nodes", Text), _col("suspended", Boolean))


NODES_JOBS, NODES_ATTEMPTS = _held_jobs("nodes_jobs"), _held_attempts("nodes_attempts")
USAGE_JOBS, USAGE_ATTEMPTS = _held_jobs("usage_jobs"), _held_attempts("usage_attempts")
DRAW_JOBS, DRAW_ATTEMPTS = _held_jobs("draw_jobs"), _held_attempts("draw_attempts")

# -- preemptions -------------------------------------------------------------------------------------------------

PREEMPTIONS = _table(
    "preemptions",
    _key("number"),
    _fixed("at_ms"),
    _fixed("job_id", Text),
    _fixed("client_id", Text),
    _fixed("mode", Text),
    _fixed("why", Text),
    _fixed("millicores"),
    _fixed("tasks"),
    _fixed("considered"),
    _fixed("detail", Text),
    _col("places", Text),
    _col("victims"),
    _col("leaving"),
    _col("started"),
    _col("unknown"),
    _col("lost"),
    _col("spared"),
    _col("state", Text),
    _null("settled_ms"),
    _col("released_why", Text),
)
"""One row for each claim, numbered by the position of its event; work lost and time spared in millicore-ms."""
Index("preemptions_of_job", PREEMPTIONS.c.job_id)
Index("preemptions_at", PREEMPTIONS.c.at_ms)

PREEMPTION_VICTIMS = _clustered(
    "preemption_victims",
    _key("job_id", Text),
    _key("attempt"),
    _key("number"),
    _fixed("task"),
    _fixed("at_ms"),
    _fixed("millicores"),
    _fixed("ran_ms"),
    _fixed("at_risk_ms"),
    _col("lost_ms"),
    _null("saved_ms"),
    _col("open", Boolean),
)
"""Who made way in which of them; open as long as it has not ended since."""
Index("preemption_victims_of", PREEMPTION_VICTIMS.c.number)

# -- audit -------------------------------------------------------------------------------------------------------

AUDIT = _table(
    "audit",
    _key("position"),
    _fixed("at_ms"),
    _fixed("topic", Text),
    _fixed("stream", Text),
    _fixed("version"),
    _fixed("actor", Text),
    _fixed("command_id", Text),
    _fixed("cause", Text),
    _fixed("cycle"),
    _fixed("level"),
    _fixed("outcome", Text),
    _fixed("reason", Text),
    _fixed("summary", Text),
    _fixed("entities", Text),
)
ALARMS = AUDIT.c.level >= literal_column("2")
"""Warnings and worse: rare, and what people look for. A query says this word for word to use the index."""
PEOPLE = and_(AUDIT.c.actor >= literal_column("'user:'"), AUDIT.c.actor < literal_column("'user;'"))
"""What people did, likewise."""
_index("audit_alarms", AUDIT.c.position, where=ALARMS)
_index("audit_people", AUDIT.c.actor, AUDIT.c.position, where=PEOPLE)

AUDIT_ENTITIES = _clustered("audit_entities", _key("entity_id", Text), _key("position"))


def open_views(url: str) -> Engine:
    """An engine for the read models. SQLite files are put in WAL mode, so that readers never wait for the writer."""
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        return create_engine(parsed)
    if parsed.database in (None, "", ":memory:"):
        engine = create_engine(parsed, poolclass=StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = create_engine(parsed)
    event.listen(engine, "connect", _prepare_connection)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_connection(connection: Any, record: object) -> None:
    connection.isolation_level = None  # `_begin` says when; left to itself the driver leaves DDL and reads outside
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    mode = connection.get_execution_options().get("sqlite_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")
