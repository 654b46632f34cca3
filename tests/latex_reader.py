"""A strict reader of the LaTeX that tables are written in: where it passes, a TeX has nothing to refuse."""

import re

ACCENTED = "éüñßłÅč"
TEXT = (
    r"\\(textbackslash|textasciitilde|textasciicircum|ldots|textbar)\{\}|\\[&%$#_{}]|\$(\\(pm|times|geq|leq)|[-<>])\$"
)
PLAIN = re.compile(rf"(?:{TEXT}|[ A-Za-z0-9.,:;!?()\]/'+=@~-]|\{{[`[*]\}}|-\{{\}}-|[{ACCENTED}])*")
MULTICOLUMN = re.compile(r"\\multicolumn\{(\d+)\}\{c\}\{(.*)\}")
LABEL = re.compile(r"\\caption\{(.*)\}\\label\{(tab:[A-Za-z0-9-]+)\}( \\\\)?")


def read(text: str) -> list[tuple[str, list[str], list[list[str]]]]:
    """(label, columns, rows) of each table; AssertionError for anything that a LaTeX with booktabs, longtable and graphicx
    may refuse or set as something else."""
    tables = []
    lines = [line for line in text.splitlines() if not line.startswith("%")]
    while lines:
        long = lines[0].startswith("{")
        if long:
            assert lines.pop(0) == r"{\small\setlength{\tabcolsep}{4pt}"
            begin = lines.pop(0)
        else:
            assert [lines.pop(0), lines.pop(0)] == [r"\begin{table}", r"\centering\small\setlength{\tabcolsep}{4pt}"]
        caption, label, end = LABEL.fullmatch(lines.pop(0)).groups()
        assert PLAIN.fullmatch(caption), caption
        assert bool(end) == long, "a longtable's caption is a row"
        begin = begin if long else lines.pop(0)
        kind, side = re.fullmatch(r"\\begin\{(tabular|longtable)\}\{((?:[lr]|p\{\d+pt\})+)\}", begin).groups()
        wide = len(re.findall(r"[lr]|p\{\d+pt\}", side))
        last = rf"\end{{{kind}}}" + "}" * long
        body = lines[: lines.index(last)]
        del lines[: len(body) + 1]
        if not long:
            assert lines.pop(0) == r"\end{table}"
        else:
            first, body = body[: body.index(r"\endfirsthead")], body[body.index(r"\endfirsthead") + 1 :]
            assert body[: body.index(r"\endhead")] == first, "each page has the same head"
            body = [*first, *body[body.index(r"\endhead") + 1 :]]
        assert body[0] == r"\toprule" and body[-1] == r"\bottomrule" and body.count(r"\midrule") == 1
        columns, rows = [], []
        for line in body[1:-1]:
            if line.startswith((r"\cmidrule", r"\midrule")):
                columns, rows = (rows[-1], []) if line == r"\midrule" else (columns, rows)
                assert re.fullmatch(r"\\midrule|\\cmidrule\(lr\)\{\d+-\d+\}( \\cmidrule\(lr\)\{\d+-\d+\})*", line)
                continue
            assert line.endswith(r" \\")
            cells = line.removesuffix(r" \\").split(" & ")
            spans = [MULTICOLUMN.fullmatch(cell) for cell in cells]
            assert sum(int(span[1]) if span else 1 for span in spans) == wide, line
            texts = [span[2] if span else cell for span, cell in zip(spans, cells, strict=True)]
            texts = [re.sub(r"^\\rotatebox\{90\}\{(.*)\}$", r"\1", cell) for cell in texts]
            assert all(PLAIN.fullmatch(cell) for cell in texts), line
            rows.append(texts)
        tables.append((label, columns, rows))
    return tables
