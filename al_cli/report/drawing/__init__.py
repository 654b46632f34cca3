"""Figures of a study: how they look and what they show."""
