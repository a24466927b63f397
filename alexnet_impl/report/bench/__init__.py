"""Benchmark results as tables, figures and pages."""
