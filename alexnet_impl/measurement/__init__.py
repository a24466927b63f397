"""Benchmarks: what is timed, in which process, how two sides are compared, and what is kept."""
