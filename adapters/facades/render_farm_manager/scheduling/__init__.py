"""Which jobs run where, by priority and deadline."""
