"""Verdicts on the published claims, from our figures beside theirs."""
