"""Loads state, lets the domain decide, appends the facts, and only then lets effects happen."""
