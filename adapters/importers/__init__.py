"""Foreign formats of jobs and workloads, translated into the words of the domain; nothing here runs anything."""
