"""Audit log and performance figures."""
