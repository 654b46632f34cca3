"""Training a detector: data, optimizer, the loop with its hooks, and the losses."""
