"""Weights as NumPy arrays in one canonical layout: initialization, files, pretrained weights."""
