"""A run on disk: plain CSV, JSON and NPZ that pandas or a spreadsheet reads, written so that a kill never harms it.

`folder` is the run and its rounds, `find` what lies under a folder of runs, `files` how single files are written.
"""

from al_cli.records.find import RunSummary, find_runs
from al_cli.records.folder import RunFolder

__all__ = ["RunFolder", "RunSummary", "find_runs"]
