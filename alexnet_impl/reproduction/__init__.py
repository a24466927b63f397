"""The reports' experiments, what the reports claim of them, and what our runs say to that.

`catalogue` has what can be run, `published` every figure of the five reports; `consistency` checks
the figures against each other, `reproduce` trains, and `ledger` puts both side by side.
"""
