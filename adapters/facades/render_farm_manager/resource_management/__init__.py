"""How the farm is shared among clients."""
