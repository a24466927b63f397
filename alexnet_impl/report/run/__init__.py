"""The report of training runs: page, tables, plots and verdict."""
