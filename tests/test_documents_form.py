"""The form of docs/documents.yaml, what makes an experiment faithful, and the page, on a table of three experiments."""

import pytest
import yaml
from documents import TableError, count_words, parse, same
from documents_page import page

GOOD = """
documents:
  a: {title: A Document, authors: Somebody, year: 2020}
  b: {title: A Program, authors: Somebody, year: 2021, outside: true}
ours:
  - {sweep: mine, what: a study of ours}
experiments:
  - id: A1
    document: a
    title: One
    place: section 1
    task: detection
    sweep: one
    words: ["seeds=[0]"]
    also: [[dataset=mixed, study=other]]
    pool: 100
    settings:
      - {what: rate, place: section 1, sure: explicit, says: 1.0e-4, key: effective.lr, here: 0.0001}
      - {what: size, place: "-", sure: not stated, key: effective.image_size_test, here: [800, 1333], why: the usual}
      - what: length
        place: table 2
        sure: ambiguous
        key: training.iterations_per
        here: round
        readings: [{says: a round, default: true}, {says: a run, words: [training.iterations_per=run]}]
  - id: A2
    document: a
    title: Two
    place: section 2
    task: classification
    sweep: null
    why: image classification
    settings: [{what: rate, place: section 2, sure: explicit, says: a|b}]
  - id: B1
    document: b
    title: Three
    place: its configuration
    task: detection
    sweep: one
    settings: [{what: rate, place: line 3, sure: explicit, says: 0.1, key: effective.lr, here: 0.0001, why: so, arm: [x, y]}]
"""


def changed(**settings):
    """The first setting of A1 with these values; None takes one out."""
    content = yaml.safe_load(GOOD)
    first = content["experiments"][0]["settings"][0]
    first.update(settings)
    for key in [key for key, value in settings.items() if value is None]:
        del first[key]
    return yaml.safe_dump(content)


def test_faithful_is_a_word_about_explicit_settings_and_counts_leave_out_what_is_outside():
    table = parse(GOOD)
    assert [one.status for one in table.experiments] == ["faithful", "not runnable", "deviating"]
    assert count_words(table) == (
        "2 experiments: 1 faithful, 0 deviating, 1 not runnable; "
        "of detection alone 1 experiment: 1 faithful, 0 deviating, 0 not runnable"
    )
    assert parse(changed(says=1.0, why="so")).experiments[0].status == "deviating"
    assert parse(changed(says=1.0, why="so", sure="implied")).experiments[0].status == "faithful"


def test_the_page_has_the_counts_first_and_a_row_for_everything():
    lines = page(parse(GOOD)).splitlines()
    assert lines[0].startswith("# 2 experiments: 1 faithful")
    command = "al sweep one dataset.root=FOLDER 'seeds=[0]'"
    other = f"{command} dataset=mixed study=other"  # the same on other data
    assert f"| [A1](#a1) | a | One | section 1 | faithful | `{command}`<br>`{other}` |" in lines
    assert lines[lines.index(f"    {command}") + 1] == f"    {other}"
    assert (
        "| [B1](#b1) | b (not counted) | Three | its configuration | deviating | `al sweep one dataset.root=FOLDER` |"
        in lines
    )
    assert lines.index("## Object detection") < lines.index("## Image classification") < lines.index("## a: A Document")
    assert "| `mine` | a study of ours |" in lines
    assert "| rate | section 1 | explicit | 0.0001 | 0.0001 |  |" in lines
    assert "| size | - | not stated |  | [800, 1333] | the usual |" in lines
    either = "either a round<br>or a run: `training.iterations_per=run`"
    assert f"| length | table 2 | ambiguous | {either} | round (`training.iterations_per`) |  |" in lines
    assert "| rate | section 2 | explicit | a\\|b |" in lines  # nothing is here of what cannot be run
    assert "| rate (arms `x`, `y`) | line 3 | explicit | 0.1 | 0.0001 | so |" in lines
    assert "Section 1. Detection. Faithful." in lines and "Its configuration. Detection. Deviating in: rate." in lines


def test_values_are_compared_as_numbers_and_lists():
    assert same([1, 2.0], [1.0, 2]) and same(None, None) and same(1e-4, 0.0001) and same("a", "a")
    assert (
        not same(1, True)
        and not same(None, 0)
        and not same([1], [1, 1])
        and not same(1e-4, 1.001e-4)
        and not same([1], 1)
    )


READINGS = "readings: [{says: a round, default: true}, {says: a run, words: [training.iterations_per=run]}]"
MISTAKES = {
    GOOD.replace("sweep: null", "sweep: null\n    also: [[a=b]]"): "A2: words without a sweep do nothing",
    GOOD.replace("[[dataset=mixed, study=other]]", "[other]"): "A1, also, words: 'other' is no list",
    changed(says=1.0): "A1, rate: says 1.0 and here 0.0001: why?",
    changed(says=1.0, sure="implied"): "A1, rate: says 1.0 and here 0.0001: why?",
    changed(says=None): "A1, rate: it is explicit, so it needs what the document says",
    changed(says=None, sure="not stated"): "A1, rate: the document does not say it: why 0.0001?",
    changed(sure="not stated", why="so"): "A1, rate: it is not stated, so says does not belong there",
    changed(sure="sure"): "A1, rate: sure is 'sure'; valid: explicit, implied, ambiguous, not stated",
    changed(here=None): "A1, rate: here is missing",
    changed(place=None): "A1, rate: place is missing",
    changed(hear=1): "A1, rate: there is no key hear; valid: what, place, sure, says",
    changed(key=None, arm="x"): "A1, rate: an arm without a key is compared with nothing",
    changed(
        says="1e-4", here="1e-4"
    ): "A1, rate: says is the text '1e-4'; write the number with a dot and a sign: 1.0e-4",
    changed(readings=[]): "A1, rate: it is explicit, so it has no readings",
    GOOD.replace(READINGS, "readings: []"): "A1, length: it is ambiguous, so it needs two readings or more",
    GOOD.replace("default: true", "default: false"): "A1, length: 0 readings are the default, and one is",
    GOOD.replace("default: true}", "default: true, words: [a=1]}"): "A1, length: the default reading needs no words",
    GOOD.replace("[training.iterations_per=run]", "[a run]"): "A1, length: 'a run' is no word such as training.lr=0.01",
    GOOD.replace("id: B1", "id: A1"): "A1: 2 experiments have this id",
    GOOD.replace("document: b", "document: c"): "B1: there is no document c",
    GOOD.replace("    why: image classification\n", ""): "A2: it cannot be run, so it needs a why",
    GOOD.replace("    sweep: null\n", ""): "A2: sweep is missing; write sweep: null where it cannot be run",
    GOOD.replace("says: a|b", "says: 1, here: 1"): "A2, rate: nothing is here of what cannot be run",
    GOOD.replace("task: classification", "task: both"): "A2: task is both; valid: detection, classification",
    GOOD.replace("pool: 100", "pool: 10%"): "A1: pool is '10%', and no count",
    GOOD.replace("title: One", "title: One\n    title: Other"): "title is there twice",
    GOOD.replace("ours:\n", "ours:\n  - {sweep: mine, what: the same}\n"): "ours: mine is there twice",
    GOOD.replace(", authors: Somebody, year: 2020", ", year: 2020"): "document a: authors is missing",
    "[]": "the file is no mapping with documents and experiments",
}


@pytest.mark.parametrize("text", MISTAKES, ids=MISTAKES.values())
def test_what_is_wrong_is_named(text):
    with pytest.raises(TableError) as caught:
        parse(text)
    assert MISTAKES[text] in str(caught.value)


def test_all_that_is_wrong_is_named_at_once():
    with pytest.raises(TableError) as caught:
        parse(GOOD.replace("pool: 100", "pool: none").replace("document: b", "document: c"))
    assert len(str(caught.value).splitlines()) == 2
