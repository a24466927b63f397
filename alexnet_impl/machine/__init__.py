"""The machine: its hardware, its state, what interferes with a measurement."""
