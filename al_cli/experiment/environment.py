"""What a result may depend on besides its configuration: versions, machine, git revision."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

from al_cli.masked import hide_words

LISTED_PACKAGES = ("al-cli", "torch", "torchvision", "numpy", "scipy", "faster-coco-eval", "hydra-core", "omegaconf")


def environment(device: str, kernels: Mapping[str, str]) -> dict[str, Any]:
    """Versions of everything that computes, the machine, what picks its numeric kernels (`learners/identity.py`), our git
    revision and the command, as plain values."""
    versions = {name: version for name in LISTED_PACKAGES if (version := installed(name))}
    versions["detectron2"] = installed("detectron2") or f"{installed('sal-detectron2')} (sal-detectron2)"
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "cpus": os.cpu_count(),
        "kernels": dict(kernels),
        "gpus": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "versions": versions,
        "git": git_revision(),
        "command": ["al", *hide_words(sys.argv[1:])],
    }


def installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def git_revision() -> str | None:
    """The revision of al's own checkout, with a plus where it has changes; None for an installed package."""
    here = Path(__file__).parent.parent

    def git(*words: str) -> str:
        done = subprocess.run(["git", "-C", str(here), *words], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != here.parent:
            return None
        return git("rev-parse", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None
