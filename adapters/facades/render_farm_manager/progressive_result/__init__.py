"""Pictures to look at before a job is finished."""
