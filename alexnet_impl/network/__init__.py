"""Architectures as data: layers and their shapes, the named variants, and changes of them."""
