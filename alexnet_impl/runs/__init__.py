"""A run is a folder: what was asked for, what was recorded, and where it ran."""
