"""Reproduction of the five reports: their experiments, their claims, and our verdicts on them.

The reports, cited as R0 to R4, are course reports of 2025 that train AlexNet on CIFAR-10 in PyTorch
and in Keras (docs/reports.md introduces them). `claims` holds every published figure, `catalogue`
the experiments that can be run; `checks` compares the figures with each other, `runs` trains
experiments and reads their runs, and `verdicts` compares the runs with the figures.
"""
