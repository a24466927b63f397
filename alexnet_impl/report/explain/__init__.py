"""The results of `alexnet explain` as tables and as a page."""
