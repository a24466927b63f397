"""Runs of the reports' experiments: started, found again, checked."""
