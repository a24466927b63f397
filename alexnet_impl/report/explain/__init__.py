"""Page and tables of `alexnet explain`."""
