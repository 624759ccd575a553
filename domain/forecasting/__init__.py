"""What is likely to happen: starts, ends, lateness, with intervals, and how good that was."""
