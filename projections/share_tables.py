"""The tables of the ledger of shares, in the database of all read models."""

from sqlalchemy import Boolean, Text

from projections.tables import _clustered, _col, _fixed, _key, _null

SHARES = _clustered(
    "shares",
    _key("client_id", Text),
    _col("guarantee_percent"),
    _col("lends", Boolean),
    _col("used_millicores"),
    _col("used_gpus"),
    _col("waiting_millicores"),
    _col("waiting_gpus"),
    _null("unmet_position"),
    _null("unmet_ms"),
)
SHARES_FARM = _clustered("shares_farm", _key("number"), _col("millicores"), _col("gpus"), _null("period_ms"))
SHARES_NODES = _clustered("shares_nodes", _key("node_id", Text), _col("millicores"), _col("gpus"))
SHARES_JOBS = _clustered("shares_jobs", _key("job_id", Text), _col("state", Text))
"""Live jobs as they stand."""
SHARES_BREACHES = _clustered(
    "shares_breaches",
    _key("client_id", Text),
    _key("opened"),
    _fixed("opened_ms"),
    _fixed("closed"),
    _fixed("closed_ms"),
    _fixed("period_ms"),
)
SHARES_RECLAIMS = _clustered(
    "shares_reclaims", _key("position"), _key("client_id", Text), _fixed("at_ms"), _fixed("millicores"), _fixed("gpus")
)
