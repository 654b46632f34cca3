"""What the report says, in its order: the answer, the curves, the comparison, then everything it rests on.

Puts sentences, tables and figures of the other files into sections. Computes no number and writes no file.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, cast

from al_cli.records import RunFolder
from al_cli.records.claim import Claim, parse_claim
from al_cli.report.drawing import curves as curve_figures
from al_cli.report.drawing import style
from al_cli.report.drawing.ranking import plot_ranking
from al_cli.report.page import Block, Bullets, Document, Figure, Paragraph, Photo, Section
from al_cli.report.sections import comparison as comparing
from al_cli.report.sections import costs, hardest, numbers, selected, summary
from al_cli.report.sections.differences import difference_table
from al_cli.report.statistics.analyse import Statistics, analyse, answer
from al_cli.report.statistics.claim_answer import answer_claim, written_before
from al_cli.report.statistics.comparison import Measure
from al_cli.report.statistics.curves import COSTS, METRICS, SCALES, Cost, Target, curves_of
from al_cli.report.statistics.in_words import count
from al_cli.report.statistics.paired_tests import smallest_wilcoxon_p
from al_cli.report.statistics.warnings import warnings_of_study
from al_cli.report.study import Run, Study, find_missing
from al_cli.report.table import Table

ALPHA = 0.05  # where the study claims nothing
BEST, WORST = 3, 2  # arms that are told apart where there are too many to tell all apart


def tell(study: Study, *, target: Target | None = None, dataset: hardest.Load | None = None) -> Document:
    """The whole report of a study. Without `dataset` it has no sheets of images. RunError for a claim that is none."""
    story = Story(study, target, dataset)
    if not study.arms:
        sections = [Section("answer", "The answer", [Paragraph("No run has finished a round yet.", strong=True)])]
        return Document(study.name, story.subtitle(), [*sections, story.missing()], [numbers.runs_table(study)])
    sections = [
        story.answer(),
        story.curves(),
        story.sizes(),
        story.summary(),
        story.comparison(),
        story.numbers(),
        story.selected(),
        story.costs(),
        story.differences(),
        story.missing(),
    ]
    return Document(study.name, story.subtitle(), sections, story.attached)


class Story:
    """The sections of one study's report, and what they share: statistics, the looks of the arms, which are told apart."""

    def __init__(self, study: Study, target: Target | None, dataset: hardest.Load | None):
        self.study, self.dataset = study, dataset
        curves = curves_of([run for arm in study.arms for run in study.of_arm(arm)])
        self.unfinished = find_missing(study)
        stated = study.plan.claim
        self.claim: Claim | None = parse_claim(stated, metrics=METRICS, costs=COSTS) if stated else None
        self.found: Statistics = analyse(
            curves,
            curves_of(study.references),
            random=study.random,
            target=target,
            alpha=self.claim.alpha if self.claim else ALPHA,
        )
        self.cost = cast(Cost, self.claim.cost) if self.claim else "images"
        self.area = Measure("AUC", cost=self.cost)
        self.baseline = study.random if study.random in study.arms and len(study.arms) > 1 else None
        self.distinct = self.told_apart()
        self.looks = style.assign_looks(study.arms, study.random, self.distinct)
        self.references = [value for value in self.found.reference.values.values() if value is not None]
        self.attached: list[Table] = [numbers.runs_table(study)]
        self.warnings = warnings_of_study(self.found, curves, environments(study.runs))

    def told_apart(self) -> list[str]:
        """The arms with a colour of their own: all, or random, the claim's arms, the best and the worst of many."""
        arms = self.study.arms
        if len(arms) <= style.DISTINCT:
            return arms
        areas = {arm.arm: arm.auc[self.cost, "linear"].mean for arm in self.found.arms}
        order = (
            sorted((arm for arm in arms if areas.get(arm) is not None), key=lambda arm: -(areas[arm] or 0.0)) or arms
        )
        claimed = [self.claim.arm, self.claim.against] if self.claim else []
        wanted = {self.study.random, *claimed, *order[:BEST], *order[-WORST:]}
        return [arm for arm in arms if arm in wanted]

    def subtitle(self) -> str:
        runs = len(self.study.runs)
        arms, seeds = len(self.study.arms), len({run.seed for run in self.study.runs if run.records})
        parts = [f"{count(arms, 'arm')}, {count(seeds, 'seed')}, {count(runs, 'run')}"]
        if self.study.references:
            parts.append(f"{count(len(self.study.references), 'run')} on all labels")
        if self.study.plan.source:
            parts.append(f"source: {self.study.plan.source}")
        return "; ".join(parts)

    def answer(self) -> Section:
        blocks: list[Block] = []
        if self.claim:
            claimed = answer_claim(self.claim, self.found, self.study.plan.arms)
            blocks += [Paragraph(claimed.sentence, strong=True), Paragraph(self.when_claimed())]
        sentences = answer(self.found)
        if sentences and not self.claim:
            blocks.append(Paragraph(sentences.pop(0), strong=True))
        if sentences:
            blocks.append(Bullets(sentences))
        incomplete = len(self.unfinished)
        if incomplete or self.warnings:
            told = [count(incomplete, "note") + " on what is missing"] * bool(incomplete)
            told += [count(len(self.warnings), "warning")] * bool(self.warnings)
            blocks.append(Paragraph(f"Read with care: {' and '.join(told)} at the end."))
        blocks.append(self.curve_figure("ap", self.cost))
        if self.baseline:
            comparison = self.found.comparisons[self.area]
            if gains := comparing.gains(comparison, self.baseline, self.study.oracles):
                draw = partial(plot_ranking, gains, self.looks, self.baseline, comparing.capital(self.area.label))
                caption = f"Every arm's {self.area.label}: mean difference to {self.baseline} over common seeds."
                if any(gain.low is not None for gain in gains):
                    caption += " Lines are 95% bootstrap intervals of the paired difference."
                blocks.append(Figure("ranking", caption, draw))
        return Section("answer", "The answer", blocks)

    def when_claimed(self) -> str:
        written, first = self.study.plan.claim_written_at, self.study.first_record_at
        if written is None or first is None:
            return "When the claim was written is not known."
        if written_before(written, first):
            return "The claim was written before the study's first record."
        return "The claim was written after the study's first record, so it is no prediction: results may have suggested it."

    def curve_figure(self, name: str, cost: Cost) -> Figure:
        others = len(self.study.arms) - len(self.distinct)
        caption = f"AP against labeled {cost}: mean over seeds, one standard deviation shaded."
        if others:
            caption += f" {count(others, 'arm')} in the middle of the field are grey."
        if self.references:
            caption += " The dash-dotted line is a training on all labels."
        draw = partial(curve_figures.plot_curves, self.found.rounds, cost, self.looks, self.references)
        return Figure(name, caption, draw)

    def curves(self) -> Section:
        other: Cost = "boxes" if self.cost == "images" else "images"
        return Section("curves", f"Against {other}", [self.curve_figure(f"ap_vs_{other}", other)])

    def sizes(self) -> Section:
        rounds = self.found.rounds
        blocks: list[Block] = []
        if len(self.study.arms) > 1:
            bars = partial(curve_figures.plot_bars, rounds, self.looks)
            caption = "AP after each round, arm by arm; lines are one standard deviation."
            blocks.append(Figure("ap_by_round", caption, bars))
        if any(row.mean[key] is not None for row in rounds for key in curve_figures.SIZES):
            by_size = partial(curve_figures.plot_by_size, rounds, self.looks)
            caption = "AP of small, medium and large objects, in COCO's ranges. The scales differ."
            blocks.append(Figure("ap_by_size", caption, by_size))
        return Section("sizes", "By round and object size", blocks)

    def summary(self) -> Section:
        tables = summary.summary_tables(self.found, self.cost)
        reference = summary.reference_table(self.found)
        return Section("summary", "Summary", [*tables, *([reference] if reference else [])])

    def comparison(self) -> Section:
        """Everyone against random, the matrices, wins and losses; matrices show the arms that are told apart."""
        section = Section("comparison", "Arm against arm")
        if len(self.study.arms) < 2:
            return section
        found, shown = self.found.comparisons, self.distinct
        areas = [Measure("AUC", cost=cost) for cost in sorted(COSTS, key=lambda cost: cost != self.cost)]
        rounds = [found[m] for m in sorted((m for m in found if m.kind == "round"), key=lambda m: m.round or 0)]
        if self.baseline:
            section.blocks += [comparing.against_table(found[measure], self.baseline) for measure in areas]
            section.blocks.append(comparing.against_table(found[Measure("final")], self.baseline))
            if rounds:
                section.blocks.append(comparing.rounds_table(rounds, self.baseline))
        if len(shown) < len(self.study.arms):
            text = f"The matrices show {len(shown)} of {len(self.study.arms)} arms; pairs.csv beside this page has all pairs."
            section.blocks.append(Paragraph(text))
        tests = ["t_p", "t_holm"]
        if smallest_wilcoxon_p(self.found.seeds) < self.found.alpha:  # else every cell would say "too few seeds"
            tests.append("wilcoxon_p")
        section.blocks += [comparing.p_matrix(found[areas[0]], test, shown) for test in tests]
        section.blocks += [comparing.p_matrix(found[m], "t_p", shown) for m in (areas[1], Measure("final"))]
        section.blocks.append(comparing.win_matrix(found[areas[0]], shown))
        measures = [Measure("AUC", cost=cost, scale=scale) for cost in COSTS for scale in SCALES]
        self.attached.append(comparing.pairs_table([found[measure] for measure in (*measures, Measure("final"))]))
        return section

    def numbers(self) -> Section:
        tables = [numbers.arms_table(self.found.rounds), *numbers.appendix_tables(self.study)]
        return Section("numbers", "All numbers", list(tables))

    def selected(self) -> Section:
        section = Section("selected", "What was selected")
        counts = selected.class_counts(self.study)
        if any(boxes for rounds in counts.values() for of_round in rounds for boxes in of_round.values()):
            draw = partial(selected.plot_classes, counts, self.distinct)
            caption = "Labeled boxes of each class, stacked by the round that picked them; mean over seeds."
            section.blocks.append(Figure("classes", caption, draw))
            self.attached.append(selected.class_table(counts))
        overlaps = selected.overlaps(self.study)
        if any(overlaps.values()):
            everything, *matrices = selected.overlap_tables(overlaps, self.distinct, selected.first_chance(self.study))
            self.attached.append(everything)
            section.blocks += matrices
        if self.dataset is not None:
            photos, sentence = hardest.sheets(self.study, self.distinct, self.dataset)
            section.blocks.append(Paragraph(sentence))
            for name, picture in photos.items():
                section.blocks.append(Photo(name, hardest.CAPTIONS[name], picture))
        return section

    def costs(self) -> Section:
        found = costs.costs(self.study)
        return Section("costs", "What it cost", [Paragraph(costs.cost_sentence(found)), costs.cost_table(found)])

    def differences(self) -> Section:
        table = difference_table(self.study)
        return Section("differences", "How the arms differ", [table] if table else [])

    def missing(self) -> Section:
        """What is missing, then the warnings; says so where there is neither."""
        blocks: list[Block] = [Bullets(self.unfinished)] if self.unfinished else [Paragraph("No run is missing.")]
        if self.warnings:
            blocks += [Paragraph("Warnings:"), Bullets(self.warnings)]
        else:
            blocks.append(Paragraph("No warnings."))
        return Section("missing", "Missing runs and warnings", blocks)


def environments(runs: Sequence[Run]) -> dict[str, dict[str, Any]]:
    """Run name -> its environment, for the runs that have a readable one."""
    found = {run.name: RunFolder(run.path).environment() for run in runs}
    return {name: environment for name, environment in found.items() if environment}
