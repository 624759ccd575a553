"""The hot paths against what bounds them: `python -m tests.benchmarks`, or `make bench`.

A row of the table measures Milepost and its floor (raw SQLite, a bare loop, a peer) in the same run, in turns, and is
judged by their ratio, because absolute rates move from machine to machine and from minute to minute.
"""
