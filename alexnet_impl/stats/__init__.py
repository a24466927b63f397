"""Statistics: accuracies with intervals, paired effects, ratios of speeds."""
