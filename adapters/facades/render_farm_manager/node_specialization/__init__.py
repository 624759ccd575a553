"""Which nodes suit which kind of job."""
