"""Connects the outside world to the application: command line, HTTP, stores, executors, formats."""
