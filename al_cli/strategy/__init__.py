"""A sampler at work in a round: a strategy is a list of stages that score, select, and keep some images for the next."""

from al_cli.strategy.stage import Stage, keep_count
from al_cli.strategy.strategy import Strategy

__all__ = ["Stage", "Strategy", "keep_count"]
