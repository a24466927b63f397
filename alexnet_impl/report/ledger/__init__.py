"""Reports on the ledger of published claims: terminal tables, a page and JSON."""
