"""Render farm manager: the library's names and behaviour over the event-sourced core.

Callers import from the leaf modules, as they always did; nothing is exported here.
"""

__version__ = "0.1.0"
