"""Texts for people, terminals and spreadsheets, and lists of names in one text."""

import logging
from dataclasses import replace
from pathlib import Path

from scripts.lib.command import one_line_errors

import pytest
import torch

from softcpt.files.texts import PlainFormatter, counted, joined_names, names_of, plain, spreadsheet
from softcpt.inference.predictions import Prediction, csv_of, text_of


@pytest.mark.parametrize(
    "text, shown",
    [
        ("owl", "owl"),
        ("\x1b[31mred\x07", r"\x1b[31mred\x07"),
        ("two\nlines\r", r"two\nlines\r"),
        ("exe\u202egnp.", r"exe\u202egnp."),
        ("\x9b2J \udc80", r"\x9b2J \udc80"),
        ("ünï 猫 🦉", "ünï 猫 🦉"),
    ],
)
def test_control_characters_are_written_as_escapes(text, shown):
    assert plain(text) == shown
    assert plain(f"a\n{text}", keep="\n").startswith("a\n")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@a", " =1", '=HYPERLINK("x")'])
def test_spreadsheets_do_not_compute_names(text):
    assert spreadsheet(text) == f"'{text}"
    assert [spreadsheet(value) for value in (-3.1, 7, "a-b", "a=b")] == [-3.1, 7, "a-b", "a=b"]


def test_counts_are_in_words():
    assert [counted(n, "class") for n in (0, 1, 2, 1200)] == ["0 classes", "1 class", "2 classes", "1,200 classes"]
    assert counted(1, "child", "children") == "1 child" and counted(3, "child", "children") == "3 children"


@pytest.mark.parametrize(
    "names, text",
    [
        (["air", "cars"], "air,cars"),
        (["cars, 2013", "air"], r"cars\, 2013,air"),
        (["base"], "base,"),
        (["all"], "all,"),
        (["base", "new"], "base,new"),
        (["a\\", "b"], r"a\\,b"),
        (["x,"], r"x\,"),
        (["2024"], "2024"),
    ],
)
def test_names_in_one_text_are_read_back(names, text):
    assert joined_names(names) == text and names_of(text) == names
    assert names_of("air, cars ,") == ["air", "cars"] and names_of(r"a\b") == [r"a\b"]


def test_commands_show_no_control_characters(tmp_path, capsys):
    @one_line_errors(1)
    def main(argv):
        raise ValueError("no task \x1b[2J\r'x'\nin two lines")

    assert main([]) == 1
    assert capsys.readouterr().err == "error: no task \\x1b[2J\\r'x'\nin two lines\n"
    record = logging.LogRecord("x", logging.INFO, "", 1, "task %s\nand more", ("\x1b]0;title\x07",), None)
    assert PlainFormatter("%(message)s").format(record) == "task \\x1b]0;title\\x07\nand more"


def test_predictions_are_safe_in_terminals_and_spreadsheets():
    made = [Prediction(Path("=1+1.png"), {"": torch.tensor([0.75, 0.25])}), Prediction(Path("\x1b[31m.png"), {}, "x")]
    assert text_of(replace(made[0], path=Path("\x1b[31ma\nb.png")), ["@owl", "o\x07wl"], 2) == (
        "\\x1b[31ma\\nb.png: @owl 75.0 %, o\\x07wl 25.0 %"
    )
    rows = csv_of(made, "-task", ["@owl", "jay"], 2).splitlines()
    assert rows == ["path,task,rank,class,probability", "'=1+1.png,'-task,1,'@owl,0.75", "'=1+1.png,'-task,2,jay,0.25"]
