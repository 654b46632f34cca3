"""Names in any script: no letter of a figure is an empty box, which matplotlib warns of and pytest refuses."""

import logging

import pytest

from al_cli.report.drawing import letters, sheets, style

NAMES = ["cat é", "猫", "ねこ", "고양이", "قطة", "кот", "बिल्ली", "😀"]


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    """As on a machine with matplotlib's own fonts alone."""
    monkeypatch.setattr(letters, "_warned", set())
    monkeypatch.setattr(letters, "font_with", lambda char: None)


def test_a_letter_that_no_font_has_is_spelled():
    assert [letters.drawable(name) for name in NAMES] == [
        "cat é",
        "\\u732b",
        "neko",
        "goyangi",
        "قطة",
        "кот",
        "bailalaii",
        "😀",
    ]


def test_a_figure_has_every_name_without_a_warning_but_one_of_al(tmp_path, caplog):
    with caplog.at_level(logging.WARNING), style.figure() as (made, axes):
        axes.set_yticks(range(len(NAMES)), NAMES, fontsize=7)
        axes.plot([0, 1], label=NAMES[1])
        axes.set_title(NAMES[2])
        made.legend()
        style.label_x(made, axes, f"AUC against images: difference to {NAMES[1]} in a line that is long")
        style.save(made, tmp_path / "a.png", tmp_path / "a.svg")
        shown = [label.get_text() for label in axes.get_yticklabels()]
        assert (shown[1], axes.get_title(), axes.get_xlabel().split()[-7]) == ("\\u732b", "neko", "\\u732b")
        assert axes.get_yticklabels()[1].get_fontsize() == 7
        style.save(made, tmp_path / "b.png")
    said = [record.getMessage() for record in caplog.records]
    assert all("no installed font has" in line for line in said) and len(said) == len(set(said)) > 0
    assert sum("猫" in line for line in said) == 1, "once"


def test_an_installed_font_is_taken(monkeypatch, tmp_path):
    """Latin letters from another font that comes with matplotlib: it stands for one with the letters that are lacking."""
    file = str(letters._house()).replace("DejaVuSans.ttf", "STIXGeneral.ttf")
    monkeypatch.setattr(letters, "in_house", lambda char: char != "é")
    monkeypatch.setattr(letters, "font_with", lambda char: ("STIXGeneral", file))
    with style.figure() as (made, axes):
        axes.set_title("cat é")
        style.save(made, tmp_path / "a.png")
        assert axes.title.get_fontfamily() == ["DejaVu Sans", "STIXGeneral"] and axes.get_title() == "cat é"
    assert letters.font_for("é")[0].name == "STIXGeneral.ttf" and letters.font_for("cat")[0] == letters._house()


def test_sheets_spell_too():
    assert [sheets._font_for(name)[1] for name in ("cat", "猫")] == ["cat", "\\u732b"]
