"""Shell completion, and the rest that Hydra answers for `al run`: --cfg, --info, --hydra-help."""

import os
import sys
from collections.abc import Sequence


def complete(words: list[str], verbs: Sequence[str]) -> int:
    """Hydra's completion looks at the whole line; it must not see our verb."""
    line = os.environ.get("COMP_LINE", "")
    head, _, rest = line.partition(" ")
    if words[-1].startswith("query") and not rest.startswith("run "):
        print(*verbs)
        return 0
    os.environ["COMP_LINE"] = f"{head} {rest.removeprefix('run ')}"
    return ask_hydra(words)


def ask_hydra(words: list[str]) -> int:
    """Call Hydra as if the program were `al` with these words. It runs nothing: al makes and starts its runs itself."""
    import hydra

    from al_cli.experiment.compose import CONFIG_NAME, shipped

    before, sys.argv = sys.argv, [sys.argv[0], *words]
    try:
        main = hydra.main(version_base="1.3", config_path=str(shipped("conf").resolve()), config_name=CONFIG_NAME)
        main(lambda config: None)()
    finally:
        sys.argv = before
    return 0
