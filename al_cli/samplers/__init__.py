"""Scores and selections: pure functions of a Query. Every declared function of every file in this folder is exported
here, so a new sampler is one file and one yaml and no list has to be kept.

    from al_cli.samplers import entropy, top

`modal_strategy` makes a query strategy of modAL of one of them.
"""

import importlib
import pkgutil
import sys

from al_cli.samplers.as_modal import modal_strategy as modal_strategy
from al_cli.samplers.base import Declaration


def _export() -> None:
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for name, thing in list(vars(importlib.import_module(module.name)).items()):
            if isinstance(getattr(thing, "declaration", None), Declaration) and thing.__module__ == module.name:
                # A function may have its file's name: al_cli.samplers.NAME is then the function, not the module.
                if globals().get(name, thing) not in (thing, sys.modules.get(f"{__name__}.{name}")):
                    raise ImportError(f"{module.name}.{name}: the name {name!r} is taken in {__name__}")
                globals()[name] = thing


_export()
