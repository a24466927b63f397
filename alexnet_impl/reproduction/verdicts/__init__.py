"""Verdicts on the published claims: our figures beside theirs."""
