"""Studies: what schedules are worth on invented farms, ours beside plain ones on the same seeds."""
