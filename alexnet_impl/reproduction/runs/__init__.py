"""Runs of the reports' experiments: what to train, training it, and reading it back."""
