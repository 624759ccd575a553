"""What jobs cost in energy, and where they cost least."""
