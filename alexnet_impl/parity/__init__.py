"""Parity of the built-in networks: stages of checks, lockstep training, causes of a difference."""
