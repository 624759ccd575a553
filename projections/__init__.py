"""Folds the log, in order and exactly once, into the tables that people and dashboards read."""
