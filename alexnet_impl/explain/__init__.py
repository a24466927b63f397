"""`alexnet explain`: switch one default at a time and measure what it does to the accuracy."""
