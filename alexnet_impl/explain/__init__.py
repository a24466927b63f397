"""The study of `alexnet explain`: switch one default at a time and measure its effect."""
