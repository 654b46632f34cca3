"""Influence of an image on the loss of others: gradients of the last layers and LiSSA."""
