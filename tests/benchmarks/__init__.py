"""The hot paths against what bounds them: `python -m tests.benchmarks`, or `make bench`.

One file per row of the table. A row measures Milepost and its floor (raw SQLite, a bare loop, a peer) in the same run, in
turns, and judges their ratio, because absolute rates move from machine to machine and from minute to minute.
"""
