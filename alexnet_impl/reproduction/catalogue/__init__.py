"""The reports' experiments as data, and how much of each is run."""
