"""The ledger of published claims as tables and as a page."""
