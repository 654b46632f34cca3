"""Shell completion, and the rest that Hydra answers for `al run`: --cfg, --info, --hydra-help."""

import io
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout

from al_cli.errors import ConfigError, first_line

FULL = "HYDRA_FULL_ERROR"


def complete(words: list[str], verbs: Sequence[str]) -> int:
    """Hydra's completion looks at the whole line; it must not see our verb."""
    line = os.environ.get("COMP_LINE", "")
    head, _, rest = line.partition(" ")
    if words[-1].startswith("query") and rest.startswith("sweep "):
        print(*of_sweep(rest.removeprefix("sweep "), words))
        return 0
    if words[-1].startswith("query") and not rest.startswith("run "):
        print(*verbs)
        return 0
    os.environ["COMP_LINE"] = f"{head} {rest.removeprefix('run ')}"
    return ask_hydra(words)


def of_sweep(line: str, words: list[str]) -> list[str]:
    """What may stand at the end of `al sweep` with this line behind it: a shipped sweep, what is said to the sweep itself or
    to one arm, and every setting of a run. Hydra knows the settings."""
    from al_cli.sweep import file

    name, _, overrides = line.partition(" ")
    if not overrides and not line.endswith(" "):
        return file.shipped_names()
    try:
        arms = [f"arms.{arm.name}." for arm in file.read_sweep(name).arms]
    except ConfigError:  # whoever runs it says what is wrong
        return []
    last = overrides.rpartition(" ")[2]
    arm = next((arm for arm in arms if last.startswith(arm)), "")
    os.environ["COMP_LINE"] = f"al {last.removeprefix(arm)}"
    with redirect_stdout(io.StringIO()) as said:
        ask_hydra(words)
    settings = [f"{arm}{choice}" for choice in said.getvalue().split()]
    own = [] if arm else [choice for choice in ("seeds=", "arms=", "reference=", *arms) if choice.startswith(last)]
    return own + settings


def ask_hydra(words: list[str]) -> int:
    """Call Hydra as if the program were `al` with these words. It runs nothing: al makes and starts its runs itself."""
    import hydra

    from al_cli.experiment.compose import CONFIG_NAME, shipped

    before, sys.argv = sys.argv, [sys.argv[0], *words]
    full = os.environ.get(FULL)
    os.environ[FULL] = "1"  # Hydra then raises what is wrong instead of printing it in its own way
    try:
        main = hydra.main(version_base="1.3", config_path=str(shipped("conf").resolve()), config_name=CONFIG_NAME)
        main(lambda config: None)()
    except SystemExit as leaving:
        return 2 if leaving.code else 0
    except Exception as error:  # nothing of ours runs in it
        remedy = "Hydra's options are --cfg job, --info, --resolve (with --cfg) and -sc"
        raise ConfigError(first_line(error) or type(error).__name__, where=" ".join(words), remedy=remedy) from error
    finally:
        sys.argv = before
        os.environ.pop(FULL) if full is None else os.environ.update({FULL: full})
    return 0
