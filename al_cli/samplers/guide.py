"""What `al samplers` and docs/samplers.md show for each sampler: read off its file, declarations and docstrings.

The advice is the paragraph "When to use:" of the sampler file's comment, where it has one, else of the first of its
functions whose docstring has one. The caller gives what models can feed a sampler: samplers know no learner.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from al_cli.samplers.base import (
    Needs,
    boxes_of,
    declaration_of,
    function_of,
    held_out_of,
    labeled_of,
    name_of,
    needs_of,
    together,
)
from al_cli.samplers.catalog import read_stages, sampler_files
from al_cli.types import ORACLES, Signal

ADVICE = "When to use:"
GENERIC = {"top", "random"}  # what they do does not describe a sampler that has any other part
# Passes that a signal takes in addition to the one that all signals share: over the same images, and over others. Every
# signal stands here, so that a new one cannot be free of charge by being forgotten.
MORE_PASSES = {
    Signal.PROBS: 0,
    Signal.BOX_FEATURES: 0,
    Signal.LAYER_ACTIVATIONS: 0,
    Signal.CENTER_FEATURES: 0,
    Signal.IMAGE_FEATURES: 0,
    Signal.TOWER_FEATURES: 0,
    Signal.DROPOUT: 0,
    Signal.JITTER: 6,
    Signal.PROPOSAL_IOU: 0,
    Signal.CLASS_DIFFICULTY: 0,
    Signal.PREDICTED_LOSS: 0,
    Signal.TRUE_LOSS: 1,
    Signal.TRUE_BOXES: 0,
    Signal.TRUE_CLASSES: 0,
    Signal.INFLUENCE: 0,
    Signal.GRADIENT_SIMILARITY: 0,
    Signal.ERROR_PROBABILITY: 0,
    Signal.POOL_PROBABILITY: 0,
}
OTHER_PASSES = {
    Signal.INFLUENCE: ("labeled", "validation"),
    Signal.GRADIENT_SIMILARITY: ("validation",),
    Signal.ERROR_PROBABILITY: ("validation",),
    Signal.POOL_PROBABILITY: ("labeled",),
}
Part = Callable[..., Any]
Provided = Mapping[str, frozenset[Signal]]  # by the kind of model


@dataclass(frozen=True)
class Pass:
    """`times` passes through the backbone over `images`."""

    images: str
    times: int

    def __str__(self) -> str:
        return self.images if self.times == 1 else f"{self.times} x {self.images}"


@dataclass(frozen=True)
class SamplerRow:
    """One sampler. `needs` is None where it costs no inference; `oracle` are needs that nobody could know."""

    name: str
    about: str
    details: str
    advice: str
    family: str
    source: str
    needs: Needs
    passes: tuple[Pass, ...]
    detectors: str
    classifiers: str
    oracle: frozenset[Signal]
    stages: tuple[Mapping[str, Any], ...]

    @property
    def cost(self) -> str:
        return " + ".join(map(str, self.passes)) or "none"


def guide(conf_dir: Path, detectors: Provided, classifiers: Provided) -> list[SamplerRow]:
    """An entry for each sampler file, practical ones first, by family and name.

    `detectors`, `classifiers`: what each kind provides. A name with a comma ("R-CNN, with model.dropout") is a kind with an
    option, and counts only where the kind alone does not suffice. ConfigError names a file that is not a sampler.
    """
    entries = [_entry(path, detectors, classifiers) for path in sampler_files(conf_dir)]
    return sorted(entries, key=lambda entry: (bool(entry.oracle), entry.family, entry.name))


def _entry(path: Path, detectors: Provided, classifiers: Provided) -> SamplerRow:
    stages = read_stages(path)
    parts = [part for stage in stages for part in _parts(stage)]
    own = [part for part in parts if name_of(part) not in GENERIC] or parts
    about, details, advice = comment(path.read_text(encoding="utf-8"))
    needs = together(needs_of(part) for part in parts)
    labeled = together([*map(labeled_of, parts), *map(held_out_of, parts)])
    means = {boxes_of(part) for part in parts}
    return SamplerRow(
        name=path.stem,
        about=about,
        details=details,
        advice=sentence_case(advice or next((text for part in own if (text := descriptions(part)[1])), "")),
        family=_joined(declaration_of(part).family for part in own),
        source=_joined(declaration_of(part).source for part in own),
        needs=together([needs, labeled]),
        passes=_passes(stages),
        detectors="none" if False in means else _feeding(together([needs, labeled]), detectors),
        classifiers="none" if True in means else _feeding(together([needs, labeled]), classifiers),
        oracle=(needs or frozenset()) & ORACLES,
        stages=tuple(stages),
    )


def _parts(stage: Mapping[str, Any]) -> list[Part]:
    return [stage[role] for role in ("score", "select") if stage.get(role) is not None]


def _passes(stages: Sequence[Mapping[str, Any]]) -> tuple[Pass, ...]:
    """What is inferred for each stage: its candidates, unless the table at hand has all it needs; and labeled images."""
    passes: list[Pass] = []
    here: frozenset[Signal] | None = None  # columns of the table at hand
    left = "pool"
    for stage in stages:
        needs = together(needs_of(part) for part in _parts(stage))
        if needs is not None and (here is None or not needs <= here):
            passes += _inference(left, needs)
            here = needs
        labeled = together(labeled_of(part) for part in _parts(stage))
        if labeled is not None:
            passes += _inference("labeled", labeled)
        held_out = together(held_out_of(part) for part in _parts(stage))
        if held_out is not None:
            passes += _inference("validation", held_out)
        keep = str(stage.get("keep", "budget"))
        left = {"budget": "budget", "ud": "what ud keeps"}.get(keep, keep.replace("x", "x budget"))
        left = left.replace("%", "% of pool").replace(" images", " of pool")
        if stage.get("share"):  # it settles a part of the budget, and what follows looks at the others
            left, here = "the rest", None
    return tuple(passes)


def _inference(images: str, signals: frozenset[Signal]) -> list[Pass]:
    times = 1 + sum(MORE_PASSES[signal] for signal in signals)
    others = dict.fromkeys(other for signal in sorted(signals) for other in OTHER_PASSES.get(signal, ()))
    return [Pass(images, times), *(Pass(other, 1) for other in others)]


def _feeding(needs: Needs, models: Provided) -> str:
    """`all`, or the kinds that provide these signals; `all, with OPTION` where each needs the same option for it."""
    needs = needs or frozenset()
    plain = [name for name in models if ", " not in name]
    fed = [name for name in plain if needs <= models[name]]
    optional = [name for name in models if ", " in name and needs <= models[name]]
    optional = [name for name in optional if name.split(", ")[0] not in fed]
    options = list(dict.fromkeys(name.split(", ", 1)[1] for name in optional))
    for option in options:
        kinds = [name.split(", ")[0] for name in optional if name.endswith(option)]
        if len(kinds) == len(plain):
            return f"all, {option}"
    return "all" if len(fed) == len(plain) else "; ".join(fed + optional) or "none"


def comment(text: str) -> tuple[str, str, str]:
    """Of a sampler file's opening comment: its first line, what follows, and the advice after "When to use:"."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# ").rstrip())
    details, _, advice = " ".join(lines[1:]).partition(ADVICE)
    return lines[0] if lines else "", details.strip(), advice.strip()


def descriptions(part: Part) -> tuple[str, str]:
    """A function's docstring without its advice, and the advice in one line."""
    paragraphs = (inspect.getdoc(function_of(part)) or "").split("\n\n")
    advice = [p for p in paragraphs if p.startswith(ADVICE)]
    rest = "\n\n".join(p for p in paragraphs if not p.startswith(ADVICE))
    return rest, " ".join(advice[0].removeprefix(ADVICE).split()) if advice else ""


def sentence_case(text: str) -> str:
    return text[:1].upper() + text[1:]


def guide_page(entries: Sequence[SamplerRow]) -> str:
    """The whole of docs/samplers.md."""
    practical, oracles = [e for e in entries if not e.oracle], [e for e in entries if e.oracle]
    functions = {name_of(part): function_of(part) for e in entries for stage in e.stages for part in _parts(stage)}
    return (
        "\n\n".join(
            [
                HEAD,
                "## The samplers",
                _table(practical),
                *[section for entry in practical for section in _section(entry)],
                "## Oracles",
                "They need what nobody knows before labeling: they show what knowing it would be worth, and are no methods.",
                _table(oracles),
                *[section for entry in oracles for section in _section(entry)],
                "## The functions they are made of",
                *[section for name in sorted(functions) for section in _function(name, functions[name])],
            ]
        ).rstrip()
        + "\n"
    )


HEAD = """# Samplers

<!-- Written by `make docs` from conf/sampler/*.yaml and the docstrings in al_cli/samplers. Do not edit. -->

One section a sampler: what it picks, where it comes from, what it costs, and when to use it. `al samplers` prints the table.

* **Needs**: what the model is asked for besides boxes, scores and classes.
* **Passes**: images that go through the model for one selection; training and evaluation come on top. `pool` is
  every unlabeled image once. `benchmarks/signals.py` measures the seconds.
* **Detectors**: which kinds can feed it: Faster R-CNN, RetinaNet, FCOS, or all three.
* **Classifiers**: whether it runs where each image has one class: for `all` networks, `all, with model.dropout`, or `none`.

Where images have one class each, an image is one box: the image itself, with the class that the model predicts and its
probability as the score. Then every `aggregate` is the value of that box, no score threshold is looked at, and there is no
background among the answers. A run that asks for what its model or its data cannot give is refused before anything is
trained.

Two more read what is not theirs and are not listed: `sampler=imported sampler.file=picks.csv` takes selections made
elsewhere, and `sampler=modal sampler.strategy=package.function` asks a query strategy written for modAL, where images
have one class each. The other way, `al_cli.samplers.modal_strategy(entropy)` is a query strategy for an `ActiveLearner` of
modAL."""


def _table(entries: Iterable[SamplerRow]) -> str:
    rows = ["| sampler | family | needs | passes | detectors | classifiers |", "|---|---|---|---|---|---|"]
    for e in entries:
        link = f"[`{e.name}`](#{e.name})"
        rows.append(f"| {link} | {e.family} | {wording(e.needs)} | {e.cost} | {e.detectors} | {e.classifiers} |")
    return "\n".join(rows)


def wording(needs: Needs) -> str:
    """Needs for a reader: "no predictions", "boxes", or the names of the signals."""
    return "no predictions" if needs is None else ", ".join(sorted(needs)) or "boxes"


def _section(entry: SamplerRow) -> list[str]:
    stages = [
        f"{number}. {' → '.join(_call(part) for part in _parts(stage))}, "
        + ", ".join(f"{key} {value}" for key, value in stage.items() if key not in ("score", "select"))
        for number, stage in enumerate(entry.stages, 1)
    ]
    about = " ".join(filter(None, [entry.about, entry.details]))
    return [
        f"### {entry.name}",
        about,
        "\n".join(stages),
        f"Source: {entry.source}. Needs: {wording(entry.needs)}. Passes: {entry.cost}. Detectors: {entry.detectors}. "
        f"Classifiers: {entry.classifiers}.",
        f"**When to use.** {entry.advice}",
    ]


def _call(part: Part) -> str:
    """A link to the function, with the options that the file sets."""
    given = part.keywords if isinstance(part, functools.partial) else {}
    options = ", ".join(f"{key}={value}" for key, value in given.items())
    return f"[`{name_of(part)}`](#function-{name_of(part)})" + (f" ({options})" if options else "")


def _function(name: str, function: Part) -> list[str]:
    module = inspect.getdoc(sys.modules[function.__module__]) or ""
    options = ", ".join(
        p.name if p.default is p.empty else f"{p.name}={p.default!r}"
        for p in inspect.signature(function).parameters.values()
        if p.kind is p.KEYWORD_ONLY
    )
    return [f'### <a id="function-{name}"></a>{name}({options})', module, descriptions(function)[0]]


def _joined(words: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(words))
