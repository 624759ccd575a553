"""The event store: `eventsourcing` recorders underneath, our own mapper and readers on top."""
