"""A user's own two models, one in PyTorch and one in Keras, compared layer by layer.

Layers that bear weights are put side by side. What each reads and yields is compared in order, so
that a mismatch is either in a layer or between two; NumPy then re-enacts the usual mistakes there.
"""
