"""Recipes: every number of a training run, the named ones, and which layers train when."""
