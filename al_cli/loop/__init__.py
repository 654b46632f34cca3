"""The method: select, label, train, evaluate, record, and again. `plan` decides, `rounds` carries out."""

from al_cli.loop.plan import Opening, Plan, choose, initial_order, opening
from al_cli.loop.rounds import kept_point, run

__all__ = ["Opening", "Plan", "choose", "initial_order", "kept_point", "opening", "run"]
