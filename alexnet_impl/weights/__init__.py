"""Weights as NumPy arrays in one canonical layout: drawn, stored, published, pretrained."""
