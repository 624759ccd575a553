"""Executors run attempts: `local` on this machine, `noop` nowhere at all. Each implements the port `Executor`."""
