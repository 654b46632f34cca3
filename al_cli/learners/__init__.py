"""Models behind one protocol. Detectron2 and torchvision are imported below this folder and nowhere else."""

import logging
import warnings

# Detectron2 uses what today's setuptools and torch announce the end of. The versions are pinned, so it keeps working,
# and a user can do nothing about it.
for _message in (
    "pkg_resources is deprecated",
    r"`torch\.jit\.script",
    r"torch\.meshgrid: in an upcoming",
    r"`torch\.cuda\.amp",
):
    warnings.filterwarnings("ignore", message=_message)
logging.getLogger("torch.fx._symbolic_trace").setLevel(logging.ERROR)
logging.getLogger("fvcore.common.config").setLevel(logging.ERROR)  # distrusts a file of Detectron2's own zoo
