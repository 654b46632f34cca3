"""Studies from a file: `al sweep NAME` runs every arm with every seed, each in a process of its own.

`file` reads the YAML, `plan` turns it into checked runs, `study_file` writes down what the study is, `worker` is a run's
process, `execute` starts them and shows how far they are.
"""
