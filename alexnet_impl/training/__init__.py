"""Training: the loop, its parts, the collapse checks and the observers of its events."""
