"""The training loop, which knows the framework protocol only."""
