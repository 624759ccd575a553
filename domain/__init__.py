"""The rules of scheduling as pure functions over plain values: no I/O, no clock, no chance."""
