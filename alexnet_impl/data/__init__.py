"""Datasets and batches: images read, checked, cached, split, and drawn in one order."""
