"""Datasets and batches: reading, checking, caching and splitting images, and drawing batches."""
