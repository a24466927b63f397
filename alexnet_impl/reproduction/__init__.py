"""Reproduction of the five reports: their experiments, their claims, and our verdicts on them.

The reports, cited as R0 to R4, are course reports of 2025 that train AlexNet on CIFAR-10 in PyTorch
and in Keras. `catalogue` holds the experiments that can be run, `claims` every published figure;
`checks` compares the figures with each other, `runs` trains and reads runs, and `verdicts` compares
both.
"""
