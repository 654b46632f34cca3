"""LaTeX that compiles, as far as a strict reader of the few constructs in use can say without a TeX."""

from latex_reader import ACCENTED, PLAIN, read

from al_cli.report.latex import TEXT_WIDTH_PT, latex_table, split, tex


def test_every_character_of_a_keyboard_is_escaped():
    keyboard = "".join(map(chr, range(32, 127)))
    assert PLAIN.fullmatch(tex(keyboard)) and not PLAIN.fullmatch(keyboard)
    assert tex("<0.001") == "$<$0.001" and tex("-0.82 ± 0.31") == r"$-$0.82 $\pm$ 0.31"
    assert tex("+1.2 to -3.4 (-5)") == "+1.2 to $-$3.4 ($-$5)" and tex("ud1-0.5") == "ud1-0.5"
    assert tex("a--b---c") == "a-{}-b-{}-{}-c", "no dashes where hyphens were"
    assert tex("a\nb\x00c\u2028d") == "a b c d" and tex("猫 & ±") == r"猫 \& $\pm$"


def test_letters_that_pdflatex_lacks_are_announced():
    assert "xelatex" not in latex_table("t", ACCENTED + "–<", ["a"], [["x"]], [False])
    for letter in ("猫", "ж", "ą", "ש"):
        assert f"U+{ord(letter):04X}: needs xelatex" in latex_table("t", "title", ["a"], [[letter]], [False])


def test_a_row_may_begin_with_a_bracket_or_a_star():
    r"""\\[ and \midrule[ begin an optional length, \\* keeps the page."""
    [(_, _, rows)] = read(latex_table("t", "title", ["a", "b"], [["[x]", "1"], ["*", "2"]], [False, True]))
    assert rows == [["{[}x]", "1"], ["{*}", "2"]]


def test_a_wide_table_is_split_and_each_part_says_what_its_rows_are():
    columns = ["arm", "round", *(f"number {k}" for k in range(20))]
    rows = [[arm, str(n), *["31.20 ± 0.81"] * 20] for arm in ("random", "entropy") for n in (0, 1)]
    tables = read(latex_table("wide", "title", columns, rows, [False] + [True] * 21))
    assert [label for label, *_ in tables] == [f"tab:wide-{k}" for k in range(1, len(tables) + 1)] and len(tables) > 2
    for _, heads, body in tables:
        assert heads[:2] == ["arm", "round"] and [row[:2] for row in body] == [row[:2] for row in rows]
        longest = [max(len(row[x].replace(r"$\pm$", "±")) for row in (heads, *body)) for x in range(len(heads))]
        assert sum(4.6 * characters + 8 for characters in longest) <= TEXT_WIDTH_PT  # a digit of 9 pt is 4.6 pt wide
    assert [name for _, heads, _ in tables for name in heads[2:]] == columns[2:], "each column once"


def test_groups_stay_whole_and_labels_over_them_fit():
    groups = [("", 1), *((f"labels to {k}", 2) for k in "abcdef")]
    rows = [["arm", *["1234 ± 123"] * 12]]
    parts = split(["arm", *["images", "boxes"] * 6], rows, groups)
    assert len(parts) > 1 and all(part[0] == 0 and len(part) % 2 == 1 for part in parts)
    [(_, _, _), *others] = read(latex_table("g", "t", ["arm", *["images", "boxes"] * 6], rows, [False] * 13, groups))
    assert len(others) == len(parts) - 1


def test_a_long_table_goes_over_pages():
    text = latex_table("long", "title", ["arm"], [[f"arm {k}"] for k in range(100)], [False])
    [(label, columns, rows)] = read(text)
    assert (label, columns, len(rows)) == ("tab:long", ["arm"], 100) and "longtable}" in text.splitlines()[0]
