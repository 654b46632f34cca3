"""Building a detector: the zoo and its weights, and the tiny ones for a CPU."""
