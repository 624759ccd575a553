"""The simulator: the farm's own planning run over recorded or invented workloads in virtual time."""
