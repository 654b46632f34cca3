"""What the report says, in its order: the answer, the curves, the comparison, then everything it rests on.

Puts sentences, tables and figures of the other files into sections. Computes no number, reads and writes no file.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from al_cli.progress import count
from al_cli.records.claim import Claim, parse_claim
from al_cli.report.drawing import curves as curve_figures
from al_cli.report.drawing import style
from al_cli.report.page import Block, Bullets, Document, Figure, Paragraph, Photo, Section
from al_cli.report.sections import comparison as comparing
from al_cli.report.sections import costs, figures, hardest, numbers, selected, summary
from al_cli.report.sections.differences import difference_table
from al_cli.report.sections.measured import measured_figures
from al_cli.report.statistics.analyse import Statistics, analyse
from al_cli.report.statistics.answer import answer, lead_measures
from al_cli.report.statistics.claim_answer import answer_claim, measure_of, when_claimed, why_two_verdicts
from al_cli.report.statistics.comparison import Measure
from al_cli.report.statistics.curves import SCALES, Target
from al_cli.report.statistics.in_words import capitalised
from al_cli.report.statistics.paired_tests import smallest_wilcoxon_p
from al_cli.report.statistics.warnings import warnings_of_study
from al_cli.report.study import StudyFolder, curves_of, find_in_vain, find_missing
from al_cli.report.table import ReportTable
from al_cli.tasks import Metric

BEST, WORST = 3, 2  # arms that have a colour where there are too many for all
BULLETS = 3  # sentences of the answer that are not folded


def tell(
    study: StudyFolder,
    *,
    target: Target | None = None,
    metric: Metric | None = None,
    dataset: hardest.Load | None = None,
) -> Document:
    """The whole report of a study, in `metric` (None: that of its claim, or the task's primary one). Without `dataset` it has
    no sheets of images. RunError for a claim that is none."""
    story = Story(study, target, dataset, metric)
    if not study.arms:
        sections = [Section("answer", "The answer", [Paragraph("No run has finished a round yet.", strong=True)])]
        return Document(study.name, story.subtitle(), [*sections, story.missing()], [numbers.every_round_table(study)])
    sections = [
        story.answer(),
        story.more(),
        story.missing(),
        story.summary(),
        story.comparison(),
        story.curves(),
        story.rounds(),
        story.measured(),
        story.selected(),
        story.costs(),
        story.differences(),
        story.numbers(),
        story.pairs(),
    ]
    return Document(study.name, story.subtitle(), sections, story.attached)


class Story:
    """The sections of one study's report, and what they share: statistics, the looks of the arms, which have a colour."""

    def __init__(
        self,
        study: StudyFolder,
        target: Target | None,
        dataset: hardest.Load | None,
        metric: Metric | None = None,
    ):
        self.study, self.dataset, self.task = study, dataset, study.task
        curves = curves_of([run for arm in study.arms for run in study.of_arm(arm)], self.task)
        self.unfinished = find_missing(study)
        self.claim: Claim | None = parse_claim(study.plan.claim, self.task) if study.plan.claim else None
        claimed = measure_of(self.claim, self.task).metric if self.claim else self.task.primary
        self.metric = metric or claimed  # the claim itself is answered in its own
        if self.metric not in self.task.tabled:
            self.task = replace(self.task, table=(*self.task.table, self.metric.name))
        self.statistics: Statistics = analyse(
            curves,
            self.task,
            curves_of(study.references, self.task),
            random=study.random,
            target=target,
            metric=self.metric,
        )
        self.cost = self.claim.cost if self.claim else self.task.cost_names[0]
        self.area = Measure("AUC", self.metric, cost=self.cost)
        self.baseline = study.random if study.random in study.arms and len(study.arms) > 1 else None
        self.distinct = study.arms if len(study.arms) <= style.DISTINCT else self.arms_with_colour(BEST, WORST)
        self.looks = style.assign_looks(study.arms, study.random, self.distinct)
        self.curve_looks: curve_figures.Looks = self.looks  # fewer of many: their bands would lie on one another
        if len(study.arms) >= style.MANY:
            self.curve_looks = style.only_some(self.looks, self.arms_with_colour(1, 1))
        self.references = [value for value in self.statistics.reference.values.values() if value is not None]
        self.sentences = answer(self.statistics)
        self.headline = self.sentences.pop(0) if self.sentences and not self.claim else None
        self.attached: list[ReportTable | Photo] = [numbers.every_round_table(study)]
        configs = {run.arm: run.config for run in study.runs if run.records}
        self.warnings = warnings_of_study(self.statistics, study.environments, find_in_vain(study), configs)

    def arms_with_colour(self, best: int, worst: int) -> list[str]:
        """Random, the claim's arms, the best and the worst by area."""
        arms = self.study.arms
        areas = {arm.arm: arm.auc[self.cost, "linear"].mean for arm in self.statistics.arms}
        known = [arm for arm in arms if areas.get(arm) is not None and arm != self.study.random]
        order = sorted(known, key=lambda arm: -(areas[arm] or 0.0)) or arms
        claimed = [self.claim.arm, self.claim.against] if self.claim else []
        wanted = {self.study.random, *claimed, *order[:best], *order[-worst:]}
        return [arm for arm in arms if arm in wanted]

    def subtitle(self) -> str:
        runs = len(self.study.runs)
        arms, seeds = len(self.study.arms), len({run.seed for run in self.study.runs if run.records})
        parts = [f"{count(arms, 'arm')}, {count(seeds, 'seed')}, {count(runs, 'run')}"]
        if self.study.references:
            parts.append(f"{count(len(self.study.references), 'run')} on all labels")
        if self.metric != self.task.primary:
            parts.append(f"compared in {self.metric.name}")
        if any(run.config.get("evaluate") == "val" for run in self.study.runs):
            parts.append("scored on the val split (evaluate=val)")
        if self.study.plan.source:
            parts.append(f"source: {self.study.plan.source}")
        return "; ".join(parts)

    def answer(self) -> Section:
        blocks: list[Block] = []
        if self.claim:
            plan = self.study.plan
            claimed = answer_claim(self.claim, self.statistics, plan.arms, plan.seal, plan.changed)
            blocks += [Paragraph(claimed.sentence, strong=True), Paragraph(when_claimed(plan))]
            if why := why_two_verdicts(claimed, self.statistics):
                blocks.append(Paragraph(why))
        if self.headline:
            blocks.append(Paragraph(self.headline, strong=True))
        if self.baseline:
            comparison = self.statistics.comparisons[self.area]
            blocks += figures.ranking(comparison, self.baseline, self.looks)
        if self.sentences:
            blocks.append(Bullets(self.sentences[:BULLETS]))
        incomplete = len(self.unfinished)
        if incomplete or self.warnings:
            notes = [count(incomplete, "note") + " on what is missing"] * bool(incomplete)
            notes += [count(len(self.warnings), "warning")] * bool(self.warnings)
            blocks.append(Paragraph(f"Read with care: {' and '.join(notes)} below."))
        blocks.append(self.curve_figure(self.metric.slug, self.cost))
        return Section("answer", "The answer", blocks)

    def more(self) -> Section:
        """What the answer has no room for."""
        rest = self.sentences[BULLETS:]
        return Section("more", "More on the answer", [Bullets(rest)] if rest else [])

    def curve_figure(self, name: str, cost: str) -> Figure:
        return figures.curve(
            name, self.statistics.rounds, self.metric, cost, self.curve_looks, self.references, self.area.cost
        )

    def curves(self) -> Section:
        """Against the costs that the answer's figure does not show; nothing where there is none."""
        others = [cost for cost in self.task.cost_names if cost != self.cost]
        figures = [self.curve_figure(f"{self.metric.slug}_vs_{cost}", cost) for cost in others]
        return Section("curves", f"Against {' and '.join(others)}", list(figures))

    def rounds(self) -> Section:
        rounds, metric, breakdown = self.statistics.rounds, self.metric, self.task.breakdown
        blocks: list[Block] = []
        if len(self.study.arms) >= style.MANY:
            blocks.append(figures.each_arm(rounds, metric, self.cost, self.looks, self.baseline))
        if len(self.study.arms) > 1:
            bars = partial(curve_figures.plot_bars, rounds, metric, self.looks)
            caption = f"{metric.name} after each round, arm by arm; lines are one standard deviation."
            blocks.append(Figure(f"{metric.slug}_by_round", caption, bars))
        if breakdown and any(row.mean[key] is not None for row in rounds for key in breakdown.labels):
            by_group = partial(curve_figures.plot_breakdown, rounds, self.task, self.curve_looks)
            caption = f"{self.task.primary.name} of {breakdown.groups}. The scales differ."
            caption += curve_figures.hollow_note(rounds, self.curve_looks)
            blocks.append(Figure(f"{self.task.primary.slug}_by_{breakdown.name}", caption, by_group))
        return Section("sizes", f"By round and {breakdown.what}" if breakdown else "By round", blocks)

    def measured(self) -> Section:
        figures = measured_figures(self.study, self.statistics.rounds, self.cost, self.curve_looks)
        return Section("measured", capitalised(" and ".join(figure.name for figure in figures)), [*figures])

    def summary(self) -> Section:
        tables = summary.summary_tables(self.statistics, self.cost)
        reference = summary.reference_table(self.statistics)
        return Section("summary", "Summary", [*tables, *([reference] if reference else [])])

    def comparison(self) -> Section:
        """Everyone against random."""
        section = Section("comparison", f"Against {self.baseline}")
        if not self.baseline:
            return section
        every = self.statistics.comparisons
        rounds = [every[m] for m in sorted((m for m in every if m.kind == "round"), key=lambda m: m.round or 0)]
        section.blocks += [comparing.against_table(every[measure], self.baseline) for measure in self.main_measures()]
        if rounds:
            section.blocks.append(comparing.by_round_table(rounds, self.baseline))
        return section

    def main_measures(self) -> list[Measure]:
        areas = sorted(lead_measures(self.statistics), key=lambda measure: measure.cost != self.cost)
        return list(dict.fromkeys((*areas, Measure("final", self.metric))))

    def pairs(self) -> Section:
        """The matrices of p-values and verdicts, of the arms that have a colour."""
        section = Section("pairs", "Every pair of arms: p-values and verdicts")
        if len(self.study.arms) < 2:
            return section
        every, shown, metric = self.statistics.comparisons, self.distinct, self.metric
        costs, final = self.task.cost_names, Measure("final", metric)
        main, *rest = self.main_measures()
        if len(shown) < len(self.study.arms):
            text = f"The matrices show {len(shown)} of {len(self.study.arms)} arms; pairs.csv next to this page has all pairs."
            section.blocks.append(Paragraph(text))
        tests = ["t_p", "t_holm"]
        if (
            smallest_wilcoxon_p(self.statistics.seeds) < self.statistics.alpha
        ):  # else every cell would say "too few seeds"
            tests.append("wilcoxon_p")
        section.blocks += [comparing.p_matrix(every[main], test, shown) for test in tests]
        section.blocks += [comparing.p_matrix(every[measure], "t_p", shown) for measure in rest]
        section.blocks.append(comparing.win_matrix(every[main], shown))
        measures = [Measure("AUC", metric, cost=cost, scale=scale) for cost in costs for scale in SCALES]
        self.attached.append(comparing.pairs_table([every[measure] for measure in (*measures, final)]))
        return section

    def numbers(self) -> Section:
        more = numbers.more_table(self.statistics.rounds, self.task)
        tables = [numbers.arms_table(self.statistics.rounds, self.task), *numbers.appendix_tables(self.study)]
        files = (
            "runs.csv next to this page has every run, seed and round with its costs and all metrics, for other programs; "
            "each table of this page is there too, as csv, Markdown and LaTeX."
        )
        return Section("numbers", "All numbers", [Paragraph(files), *tables, *([more] if more else [])])

    def selected(self) -> Section:
        section = Section("selected", "What was selected")
        counts = selected.class_counts(self.study)
        if any(picked for rounds in counts.values() for of_round in rounds for picked in of_round.values()):
            draw = partial(selected.plot_classes, counts, self.distinct, self.task.labeled)
            what = capitalised(self.task.labeled)
            caption = f"{what} of each class, stacked by the round that picked them; mean over seeds."
            section.blocks.append(Figure("classes", caption, draw))
            self.attached.append(selected.class_table(counts, self.task.labels))
        overlaps = selected.overlaps(self.study)
        if any(overlaps.values()):
            everything, *matrices = selected.overlap_tables(overlaps, self.distinct, selected.first_chance(self.study))
            self.attached.append(everything)
            section.blocks += matrices
        if self.dataset is not None:
            sheets = hardest.sheets(self.study, self.distinct, self.dataset)
            section.blocks += [Paragraph(sheets.sentence), *sheets.shown]
            if sheets.others:
                names = ", ".join(f"{photo.name}.jpg" for photo in sheets.others)
                section.blocks.append(Paragraph(f"Sheets of the other rounds are next to this page: {names}."))
                self.attached += sheets.others
        return section

    def costs(self) -> Section:
        spent = costs.spent_by_arm(self.study)
        return Section("costs", "What it cost", [Paragraph(costs.spent_sentence(spent)), costs.spent_table(spent)])

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
