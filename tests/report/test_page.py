"""The page: one file without a network, looked at by a real browser in both themes; and its tables in other formats."""

import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from latex_reader import read
from PIL import Image as PILImage
from sample_runs import SampleRuns, build_samples

from al_cli.report import write
from al_cli.report.drawing.style import assign_looks
from al_cli.report.table import ReportTable

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason="no chromium is installed (Debian: apt-get install chromium)"
)


@pytest.fixture(scope="module")
def again(tmp_path_factory):
    """A small study with everything: three arms, a reference, a claim, sheets of images."""
    root = tmp_path_factory.mktemp("page")
    splits = build_samples(root).splits
    samples = SampleRuns(root / "study <b>", splits)  # a name that must be escaped
    for arm, gain in (("random", 1.0), ("ccms & co", 1.4), ("entropy", 0.8)):
        for seed in (1, 2, 3):
            sampler = {"name": "random" if arm == "random" else "ccms"}
            samples.run(
                f"{arm}_s{seed}", seed=seed, gain=gain, rounds=3, sampler=sampler, arm=arm, dataset={"name": "scenes"}
            )
    samples.run("reference_s1", seed=1, rounds=1, reference=True, sampler={"name": "random"})
    claim = {"arm": "ccms & co", "against": "random"}
    arms = [{"name": name} for name in ("random", "ccms & co", "entropy")]
    plan = {"arms": arms, "seeds": [1, 2, 3], "claim": claim, "claim_written_at": "2020-01-01T00:00:00+00:00"}
    (samples.root / "study.json").write_text(json.dumps(plan))
    return lambda: write.report(samples.root, dataset=lambda config: splits)


@pytest.fixture(scope="module")
def report(again):
    return again()


class Links(HTMLParser):
    """Every address that an element points to, and every id."""

    def __init__(self, text: str):
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.addresses.append(value)


def test_the_page_is_one_file_that_asks_for_nothing(report):
    text = report.page.read_text()
    links = Links(text)
    assert [a for a in links.addresses if not a.startswith(("#", "data:"))] == []
    assert [a for a in re.findall(r"url\(([^)]*)\)", text) if not a.startswith("#")] == []
    assert "@import" not in text and not {"script", "iframe", "object", "embed"} & set(links.tags)
    inner = [address[1:] for address in links.addresses if address.startswith("#")]
    assert set(inner) <= set(links.ids), "every anchor leads somewhere"
    assert len(links.ids) == len(set(links.ids)), "figures must not share ids"
    assert links.tags.count("svg") == 6 and links.tags.count("img") == 2
    assert "study &lt;b&gt;" in text and "ccms &amp; co" in text and "study <b>" not in text
    assert text.index("Claim: ccms &amp; co is better") < text.index("<svg"), "the answer comes first"
    assert len(text) < 2_000_000


def test_one_screen_answers_and_the_rest_is_folded_with_the_matrices_last(report):
    text = report.page.read_text()
    opening, *folded = text.split('<details class="section">')
    assert opening.count("<svg") == 2 and "<table" not in opening and opening.count("<li>") <= 3
    ids = [re.search(r'<section id="(\w+)">', section)[1] for section in folded]
    order = "more missing summary comparison curves sizes selected costs differences numbers pairs"
    assert ids == order.split()
    assert "p-values of the" in folded[-1] and not any("p-values of the" in section for section in folded[:-1])


def test_every_table_and_figure_lies_beside_the_page(report):
    names = {path.name for path in report.files}
    assert all(path.parent == report.page.parent and path.stat().st_size > 20 for path in report.files)
    for figure in ("ap", "ap_vs_boxes", "ap_by_round", "ap_by_size", "ranking", "classes"):
        assert {f"{figure}.png", f"{figure}.svg"} <= names
        with PILImage.open(report.page.parent / f"{figure}.png") as picture:
            assert np.asarray(picture.convert("L")).std() > 5, "something is drawn"
    for table in (
        "summary",
        "reference",
        "pairs",
        "p_t_auc_images",
        "wins_auc_images",
        "overlap",
        "costs",
        "differences",
    ):
        assert {f"{table}.csv", f"{table}.md", f"{table}.tex"} <= names


def test_every_table_is_latex_that_compiles(report):
    texts = [path.read_text() for path in report.files if path.suffix == ".tex"]
    tables = [table for text in texts for table in read(text)]
    assert len(texts) > 10 and len({label for label, *_ in tables}) == len(tables) > len(texts), "one is split"
    parts = [heads[1:] for label, heads, _ in tables if label.startswith("tab:against-random-auc-images")]
    against = [name for heads in parts for name in heads]
    assert "95\\% interval" in against
    assert len(set(against)) == len(against), "no two columns of one name"


def test_the_same_runs_give_the_same_bytes(report, again):
    first = {path.name: path.read_bytes() for path in (report.page, *report.files)}
    second = again()
    assert {path.name: path.read_bytes() for path in (second.page, *second.files)} == first
    root = str(report.page.parent.parent).encode()
    assert not any(root in content for content in first.values()), "no path of this machine"


@needs_browser
def test_a_browser_shows_it_in_both_themes(report, tmp_path):
    probe = (
        "<script>window.onload = () => { document.querySelectorAll('details').forEach(d => d.open = true);"
        "document.title = JSON.stringify({"
        "images: [...document.images].map(i => i.complete && i.naturalWidth > 0),"
        "drawn: [...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width > 100),"
        "wide: document.documentElement.scrollWidth - innerWidth,"
        "fetched: performance.getEntriesByType('resource').map(e => e.name).filter(n => !n.startsWith('data:'))}) }</script>"
    )
    wrapped = tmp_path / "probe.html"
    wrapped.write_text(report.page.read_text().replace("</body>", probe + "</body>"))
    for width in (1200, 420):
        dom, log = browse(wrapped, tmp_path, f"--window-size={width},1000", "--dump-dom")
        seen = json.loads(re.search(r"<title>(.*?)</title>", dom)[1].replace("&quot;", '"'))
        assert seen["images"] == [True] * 2 and seen["drawn"] == [True] * 6
        assert seen["fetched"] == [] and "CONSOLE" not in log
        assert seen["wide"] <= 0, "the page itself does not scroll sideways"
    shades = {}
    for theme, scheme in (("light", 1), ("dark", 0)):
        shot = tmp_path / f"{theme}.png"
        setting = f"--blink-settings=preferredColorScheme={scheme}"
        _, log = browse(report.page, tmp_path, setting, "--window-size=1200,1600", f"--screenshot={shot}")
        assert "CONSOLE" not in log
        with PILImage.open(shot) as picture:
            pixels = np.asarray(picture.convert("L"))
        shades[theme] = pixels[5, 5]
        assert np.ptp(pixels[:300].astype(int)) > 180, "the title stands out"
    assert shades["light"] > 240 and shades["dark"] < 40


def browse(page: Path, folder: Path, *options: str) -> tuple[str, str]:
    """What headless Chromium prints for a page, and its log."""
    command = [
        BROWSER,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--hide-scrollbars",
        "--enable-logging=stderr",
    ]
    command += [f"--user-data-dir={folder / 'browser'}", "--virtual-time-budget=2000", *options, page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_a_table_in_every_format(tmp_path):
    """Written out by hand: what people see may differ from what programs read."""
    shown = (["arm", "AP"], [["a_b", "31.20 ± 0.50"], ["c|d", ""]])
    groups = [("", 1), ("seed 1", 1)]
    table = ReportTable(
        "t", "A <title>", ["arm", "AP_mean"], [["a_b", 31.2], ["c|d", None]], shown, groups, [[None, 0.5]] * 2
    )
    assert table.csv() == "arm,AP_mean\na_b,31.2\nc|d,\n"
    assert table.markdown() == (
        "| arm  |    seed 1 AP |\n| ---- | ------------ |\n| a_b  | 31.20 ± 0.50 |\n| c\\|d |              |\n"
    ).replace("|    seed 1 AP |", "| seed 1 AP    |")
    assert table.latex().splitlines() == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering\small\setlength{\tabcolsep}{4pt}",
        r"\caption{A $<$title$>$}\label{tab:t}",
        r"\begin{tabular}{lr}",
        r"\toprule",
        r"\multicolumn{1}{c}{} & \multicolumn{1}{c}{seed 1} \\",
        r"\cmidrule(lr){2-2}",
        r"arm & AP \\",
        r"\midrule",
        r"a\_b & 31.20 $\pm$ 0.50 \\",
        r"c\textbar{}d &  \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    html = table.html()
    assert "<caption>A &lt;title&gt;</caption>" in html and '<td class="n" style="--d:0.50">31.20 ± 0.50</td>' in html
    assert [path.name for path in table.write(tmp_path)] == ["t.csv", "t.md", "t.tex"]


def test_thirteen_arms_look_different_and_more_are_grey():
    arms = ["random", *(f"arm{i}" for i in range(12))]
    looks = assign_looks(arms, "random", arms)
    seen = {(look["color"], look["linestyle"], look["marker"]) for look in looks.values()}
    assert len(seen) == 13 and [look["color"] for look in looks.values()].count("#000000") == 1
    assert not any("markerfacecolor" in look for look in looks.values()), "hollow is kept for means over fewer seeds"
    many = assign_looks(arms, "random", ["arm3"])
    assert len({look["color"] for look in many.values()}) == 3, "random's, one arm's, and grey for all others"
    assert many["arm3"]["linestyle"] == "-"


def test_the_template_is_in_the_package():
    code = (
        "from importlib.resources import files; print(files('al_cli.report').joinpath('page.html.j2').read_text()[:15])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "<!DOCTYPE html>\n"
