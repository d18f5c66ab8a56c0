"""Tables in LaTeX: booktabs, the best value of a column bold, the second underlined.

`document` makes a complete file for pdflatex. A table copied from it needs the packages of its head.
"""

import re
from collections.abc import Sequence

from .sections import BEST, SECOND, Section, Table
from .texts import MISSING, sides

HEAD = r"""\documentclass{article}
\usepackage[utf8]{inputenc}
\usepackage[a4paper, margin=2cm]{geometry}
\usepackage{booktabs}
\usepackage{graphicx}
\begin{document}
"""
SPECIAL = {
    "\\": r"\textbackslash{}",
    **{character: "\\" + character for character in "&%$#_{}"},
    **{"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}"},
    **{"±": r"$\pm$", MISSING: "--", "→": r"$\rightarrow$"},
}
ESCAPES = str.maketrans(SPECIAL)
SIGN = re.compile(r"(?<![\w.])-(?=\d)")  # a minus, which in text would be a hyphen
WIDE = 7  # columns from which a table is scaled to the page


def document(sections: Sequence[Section]) -> str:
    """All tables of a report as a LaTeX document."""
    parts = [HEAD]
    for section in sections:
        parts.append(rf"\section*{{{escape(section.title)}}}")
        parts += [table_of(table, section.title) for table in section.tables if len(table.table)]
    return "\n".join([*parts, r"\end{document}", ""])


def table_of(table: Table, title: str = "") -> str:
    """One table, with the methods in the rows."""
    body = table.table.iloc[:, 1:].map(escape)
    if table.marks is not None:
        for row, column in zip(*(table.marks.isin([BEST, SECOND])).to_numpy().nonzero()):
            command = r"\textbf" if table.marks.iloc[row, column] == BEST else r"\underline"
            body.iloc[row, column] = f"{command}{{{body.iloc[row, column]}}}"
    body.index = table.table.iloc[:, 0].map(escape)
    first = escape(table.table.columns[0])
    body.columns = [escape(column) for column in body]
    if table.turned:
        body, first = body.T, "method"
        body.columns = [rf"\rotatebox{{60}}{{{name}}}" for name in body]
    body = body.reset_index(names=first)
    tabular = body.to_latex(index=False, escape=False, column_format="".join(side[0] for side in sides(body))).rstrip()
    if body.shape[1] > WIDE:
        tabular = "\\resizebox{\\textwidth}{!}{%\n" + tabular + "}"
    caption = escape(". ".join(filter(None, (title, table.heading))))
    return "\n".join([r"\begin{table}[ht]", r"\centering", rf"\caption{{{caption}}}", tabular, r"\end{table}", ""])


def escape(text: object) -> str:
    """Text with LaTeX's special characters escaped."""
    return SIGN.sub("$-$", str(text).translate(ESCAPES))
