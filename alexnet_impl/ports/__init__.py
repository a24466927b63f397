"""Comparison of a user's own two models, one in PyTorch and one in Keras, layer by layer.

Layers with weights are paired, and their inputs and outputs are compared in order. So a mismatch is
either in a layer or between two layers, where NumPy then reproduces the usual mistakes.
"""
