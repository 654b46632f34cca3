"""In which settings the arms of a study differ, exactly: from the configurations that their runs resolved to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from al_cli.report.study import NOT_OF_AN_ARM, StudyFolder
from al_cli.report.table import ReportTable

ABSENT = "(not set)"


def difference_table(study: StudyFolder) -> ReportTable | None:
    """A row for each key that differs and each value that it has, with the arms of that value. None for one arm."""
    flat = {arm: flat_config(study.of_arm(arm)[0].config) for arm in study.arms}
    if len(flat) < 2:
        return None
    rows: list[list[Any]] = []
    for key in dict.fromkeys(key for of_arm in flat.values() for key in of_arm):
        members: dict[str, list[str]] = {}
        for arm, of_arm in flat.items():
            members.setdefault(text_of(of_arm[key]) if key in of_arm else ABSENT, []).append(arm)
        if len(members) > 1:
            common = max(members, key=lambda value: len(members[value]))
            for value, arms in members.items():
                everyone_else = value == common and len(arms) > 3 and len(arms) > len(flat) / 2
                rows.append([key, value, "all others" if everyone_else else ", ".join(arms)])
    shown, last = [], None
    for key, value, arms in rows:
        shown.append(["" if key == last else key, value, arms])
        last = key
    columns = ["setting", "value", "arms"]
    return ReportTable("differences", "Settings in which the arms differ", columns, rows, (columns, shown))


def flat_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Keys with dots down to single values, mappings within lists too: sampler.stages.0.keep. Lists of plain values are
    values. Without what may differ between the runs of an arm."""
    flat: dict[str, Any] = {}

    def add(prefix: str, value: Any) -> None:
        if isinstance(value, Mapping) and value:
            for key, item in value.items():
                add(f"{prefix}.{key}" if prefix else str(key), item)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            for number, item in enumerate(value):
                add(f"{prefix}.{number}", item)
        else:
            flat[prefix] = value

    add("", {key: value for key, value in config.items() if key not in NOT_OF_AN_ARM})
    return {key: value for key, value in flat.items() if not key.endswith("._partial_")}


def text_of(value: Any) -> str:
    """A value as one would write it on the command line; null for none."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
