"""A run on disk: plain CSV, JSON and NPZ that pandas or a spreadsheet reads, written so that a kill never harms it.

`folder` is the run and its rounds, `reading` the same for reading alone, `agree` whether it is the run that is asked for,
`mend` and `verify` whether it is as it was written, `past` its weights, `find` what lies under a folder of runs, `study` and
`claim` what study.json says, `rounds`, `settings`, `stop` and `formats` the content of single files.
"""

from al_cli.records.find import RunSummary, find_runs
from al_cli.records.folder import RunFolder
from al_cli.records.rounds import Round, round_name

__all__ = ["Round", "RunFolder", "RunSummary", "find_runs", "round_name"]
