"""The experiments of the five reports, and how each is scaled down."""
