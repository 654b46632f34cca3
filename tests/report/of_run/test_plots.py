"""Plots and sheets: which files appear, that they show the data, and that equal runs have equal bytes."""

import logging
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PILImage
from sample_runs import SampleRuns, build_samples

from al_cli.errors import DatasetError, RunError
from al_cli.records import RunFolder
from al_cli.report.drawing import sheets
from al_cli.report.of_run import plots, show
from al_cli.tasks.detection import TASK
from al_cli.types import Image, LossPoint, Predictions


@pytest.fixture(scope="module")
def samples(tmp_path_factory) -> SampleRuns:
    return build_samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="module")
def run(samples) -> RunFolder:
    return samples.run("ccms_s10", rounds=3)


CURVES = {"ap_vs_images.png", "ap_vs_boxes.png", "ap_by_size.png", "losses.png", "class_counts.png"}


def names(paths):
    return {path.name for path in paths}


def test_plot_run_writes_what_it_says_and_the_same_again(run, samples):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a missing glyph or a layout that does not fit is a warning
        written = plots.plot_run(run.path, samples.splits)
    assert names(written) == CURVES | {f"contact_sheet_round_0{n}.png" for n in range(3)}
    for path in written:
        assert path.parent == run.path / "plots"
        picture = np.asarray(PILImage.open(path).convert("RGB"))
        assert picture.std() > 5, f"{path.name} is blank"
    first = {path: path.read_bytes() for path in written}
    assert {path: path.read_bytes() for path in plots.plot_run(run.path, samples.splits)} == first


def test_a_contact_sheet_that_is_drawn_is_not_drawn_again(samples, monkeypatch):
    """What is returned and lies there is the same as without the shortcut; one that is gone is drawn."""
    folder = samples.run("sheets_s10", rounds=3)
    first = {path: path.read_bytes() for path in plots.plot_run(folder.path, samples.splits)}
    sheet = plots.contact_sheet
    rounds = []

    def drawn(record, *args, **options):
        rounds.append(record.round)
        return sheet(record, *args, **options)

    monkeypatch.setattr(plots, "contact_sheet", drawn)
    (folder.path / "plots/contact_sheet_round_00.png").unlink()
    again = plots.plot_run(folder.path, samples.splits, sheets=2)
    assert rounds == [0, 2]
    assert {path: path.read_bytes() for path in again} == first


def test_without_the_dataset_there_are_no_contact_sheets(samples):
    folder = samples.run("no_dataset_s10", rounds=5, done=1)  # and one round is a curve of one point
    assert names(plots.plot_run(folder.path)) == CURVES


def test_a_run_without_rounds_has_no_plots(samples):
    folder = samples.run("empty_s10", done=0)
    assert plots.plot_run(folder.path, samples.splits) == []


def drawn(monkeypatch, draw):
    """The axes of the figure that `draw` makes."""
    kept = []
    monkeypatch.setattr(plots.style, "save", lambda made, *paths: kept.append(made) or list(paths))
    draw()
    return kept[0].axes[0]


def test_curves_are_the_records(run, monkeypatch):
    records = run.records()
    axes = drawn(monkeypatch, lambda: plots.plot_metrics(records, TASK, TASK.costs[1], Path("x.png")))
    curves = {line.get_label(): line.get_xydata().tolist() for line in axes.lines}
    for label, key in (("AP", "AP"), ("AP₅₀", "AP50"), ("AP₇₅", "AP75")):
        assert curves[label] == [[record.boxes, record.metrics[key]] for record in records]
    (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
    for x, y in (point for curve in curves.values() for point in curve):
        assert left < x < right
        assert low <= y < high


def test_losses_follow_one_another(monkeypatch):
    losses = [[LossPoint(10, 3.0, 2.0), LossPoint(20, 1.0)], [], [LossPoint(10, 2.5), LossPoint(20, float("nan"), 1.5)]]
    axes = drawn(monkeypatch, lambda: plots.plot_losses(losses, Path("x.png")))
    curves = [line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == "-"]
    assert curves == [[[10, 3.0], [20, 1.0]], [[10, 2.0]], [[30, 2.5]], [[40, 1.5]]]
    assert axes.get_xlim()[1] >= 40


def test_class_counts_are_stacked_and_sorted(monkeypatch, caplog):
    caplog.set_level(logging.INFO)
    counts = [{"3": (1, 1), "$7": (5, 5), "a_b": (0, 0)}, {"3": (8, 9), "$7": (2, 7), "a_b": (1, 1)}]
    axes = drawn(monkeypatch, lambda: plots.plot_class_counts(counts, Path("x.png"), "labeled boxes"))
    assert [label.get_text() for label in axes.get_yticklabels()] == ["3", "$7", "a_b"]
    bars = [(bar.get_x(), bar.get_width()) for bar in axes.patches]
    assert bars == [(0, 1), (0, 5), (0, 0), (1, 8), (5, 2), (0, 1)]
    assert caplog.text == ""  # matplotlib remarks on names that look like numbers when they are categories


def test_many_classes_are_cut_and_it_says_so(monkeypatch):
    counts = [{f"class {k}": (k + 1, k + 1) for k in range(80)}]
    axes = drawn(monkeypatch, lambda: plots.plot_class_counts(counts, Path("x.png"), "labeled boxes"))
    assert len(axes.get_yticklabels()) == plots.CLASSES_IN_PLOT
    assert "60 most frequent of 80" in axes.get_title()


# ---- images with boxes


def solid(tmp_path, size=(40, 20), name="solid.png", **save):
    path = tmp_path / name
    PILImage.new("RGB", size, (10, 10, 10)).save(path, **save)
    return path


def test_boxes_are_drawn_where_they_are(tmp_path):
    image = Image(0, solid(tmp_path), 40, 20, [[10, 5, 30, 15]], [0])
    cell = sheets.draw_marks(sheets.load(image), [sheets.Mark((10, 5, 30, 15), "", "#FF0000")], cell_px=400)
    pixels = np.asarray(cell)
    ys, xs = np.nonzero((pixels == (255, 0, 0)).all(-1))
    # scaled by 10 and centred: 100 px below the top of the cell; the empty label touches the top left corner
    assert (xs.min(), xs.max(), ys.max()) == (100, 300, 250)
    assert (pixels[200, 200] == 10).all()


def test_sheet_shows_at_most_24_and_says_how_many(samples, run):
    record = run.records()[1]
    assert len(record.picked) == 50
    shown = []

    def remember(cells, title):
        shown.append((len(cells), [caption.split()[0] for _, caption in cells], title))

    original, sheets.grid = sheets.grid, remember
    try:
        sheets.contact_sheet(record, samples.splits.train)
    finally:
        sheets.grid = original
    files = [samples.splits.train[i].path.name for i in record.picked[:24]]
    assert shown == [(24, files, "round 1: 50 picked images, the first 24 shown")]


def test_orientation_and_depth_of_the_file(tmp_path):
    exif = PILImage.Exif()
    exif[0x0112] = 6  # turned by a quarter
    path = solid(tmp_path, name="turned.jpg", exif=exif)
    assert sheets.load(Image(0, path, 20, 40, [], [])).size == (20, 40)
    deep = tmp_path / "deep.png"
    PILImage.fromarray(np.full((20, 40), 30000, np.uint16)).save(deep)
    assert sheets.load(Image(0, deep, 40, 20, [], [])).getpixel((0, 0)) == (116, 116, 116)


def test_a_lost_or_changed_image_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"gone\.png"):
        sheets.load(Image(0, tmp_path / "gone.png", 40, 20, [], []))
    with pytest.raises(DatasetError, match="40x20, recorded as 41x20"):
        sheets.load(Image(0, solid(tmp_path), 41, 20, [], []))


def test_marks_keep_to_the_threshold_with_the_best_on_top():
    table = Predictions([0], [0, 3], np.tile([0, 0, 5, 5], (3, 1)), [0.9, 0.5, 0.25], [1, 0, 1], 2)
    marks = sheets.predicted_marks(table, ["cat", "dog"], 0.5)
    assert [mark.text for mark in marks] == ["cat 0.50", "dog 0.90"]


def test_crowd_regions_are_marked(tmp_path):
    image = Image(0, tmp_path / "a.png", 40, 20, [[0, 0, 5, 5], [1, 1, 9, 9]], [1, 1], [False, True])
    assert [mark.text for mark in sheets.true_marks(image, ["cat", "dog"])] == ["dog", "dog (crowd)"]


# ---- al show


def test_show_run(run, samples, tmp_path):
    path = show.show_run(run.path, 2, samples.splits.test, n=4)
    assert path == run.path / "plots/predictions_round_02.png"
    first = path.read_bytes()
    assert show.show_run(run.path, 2, samples.splits.test, n=4).read_bytes() == first
    other = show.show_run(run.path, 2, samples.splits.test, n=4, seed=1, out=tmp_path / "new/other.png")
    assert other.read_bytes() != first
    more = show.show_run(run.path, 2, samples.splits.test, n=10_000, out=tmp_path / "all.png")
    with PILImage.open(more) as tall, PILImage.open(other) as short:
        assert tall.height > short.height


def test_show_run_with_other_predictions(run, samples):
    table = run.predictions(0)
    path = show.show_run(run.path, 0, samples.splits.test, n=1, predictions=table)
    assert path.name == "predictions_checkpoint.png"


def test_show_run_refuses(run, samples, tmp_path):
    with pytest.raises(RunError, match="round 9 is not finished"):
        show.show_run(run.path, 9, samples.splits.test)
    with pytest.raises(RunError, match="other images"):
        show.show_run(run.path, 0, samples.splits.train)
    with pytest.raises(RunError, match="only png"):
        show.show_run(run.path, 0, samples.splits.test, out=tmp_path / "a.jpg")
    with pytest.raises(RunError, match="at least 1"):
        show.show_run(run.path, 0, samples.splits.test, n=0)
    with pytest.raises(RunError, match=r"1\.5"):
        show.show_run(run.path, 0, samples.splits.test, threshold=1.5)
