"""Proof of equality: the ladder of checks, lockstep training, and what a difference comes from."""
