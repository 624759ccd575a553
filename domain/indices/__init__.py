"""What the farm keeps at hand: who waits, what is free, what ends when, how long things take."""
