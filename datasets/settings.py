"""tasks.yaml, the settings of users' own tasks.

flowers:                                  # the task's folder, or its name in the CSV; tasks are in this order
  name: flower species recognition        # the task in words; default: the folder's name
  template: "a photo of a {}, a type of flower."
  metric: mean_per_class                  # default: accuracy
  classes: {ox_eye: ox-eye daisy}         # names of classes; the others keep their folders' names and the sorted order

If `classes` names all classes, or is a list of their folders, its order is that of the labels. Names are the texts that
are written: yes, 007, 1.10 and null are names, too.
"""

import os
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import yaml

from softcpt.files import read_yaml
from softcpt.files.messages import nearest, summary
from softcpt.files.texts import nfc
from softcpt.tasks import DEFAULT_TEMPLATE, METRICS, TEMPLATE_RULE, is_template

SETTINGS_FILE = "tasks.yaml"
KEYS = ("name", "template", "metric", "classes")
NOTHING = (None, "", "~", "null")  # the value of a task or of `classes` that has none


@dataclass
class TaskSettings:
    """The settings of one task. `classes` maps folders to class names; None for none."""

    folder: str
    name: str = ""
    template: str = DEFAULT_TEMPLATE
    metric: str = "accuracy"
    classes: dict[str, str] | None = None
    ordered: bool = False  # whether `classes` must be all, in label order: it is a list
    where: str = ""  # file and line of the classes, for messages

    def __post_init__(self):
        self.name = self.name or self.folder.replace("_", " ")

    def order(self, found: Iterable[str]) -> dict[str, str]:
        """{folder: class name} in label order: that of `classes` if these are all, else of the folders' names.

        Raises ValueError for an unknown class, two classes of one name, and a list that lacks a class.
        """
        found = sorted(found)
        own = self.classes or {}
        unknown = [name for name in own if name not in found]
        if unknown:
            raise ValueError(f"{self.where}: {self.folder!r} has no class {unknown[0]!r}{nearest(unknown[0], found)}")
        left_out = [name for name in found if name not in own]
        if left_out and self.ordered:
            raise ValueError(f"{self.where}: the classes of {self.folder!r} lack {summary(left_out)}")
        classes = {name: own.get(name) or name.replace("_", " ") for name in (found if left_out else own)}
        names = list(classes.values())
        twice = sorted({name for name in names if names.count(name) > 1}) if own else []
        if twice:
            raise ValueError(f"{self.where}: two classes of {self.folder!r} are called {twice[0]!r}")
        return classes


def read_settings(path: str, tasks: Iterable[str]) -> dict[str, TaskSettings]:
    """{folder of a task: its settings} in the order of the file, empty without a file. All texts are in NFC.

    Raises ValueError, with the line, for a malformed file and for a task that is not one of `tasks`.
    """
    if not os.path.isfile(path):
        return {}
    content = read_yaml(path, as_text=True)
    with open(path, encoding="utf-8") as file:
        lines = _lines(yaml.compose(file, Loader=yaml.SafeLoader))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected tasks as keys, found {type(content).__name__}")
    tasks = list(tasks)
    settings: dict[str, TaskSettings] = {}
    for folder, own in content.items():
        where = f"{path}, line {lines.get((folder,), 1)}"
        name = nfc(str(folder))
        if name not in tasks:
            raise ValueError(f"{where}: no task {name!r}{nearest(name, tasks)}; there are {summary(sorted(tasks))}")
        if name in settings:
            raise ValueError(f"{where}: the task {name!r} occurs twice, in two Unicode forms")
        settings[name] = _task_settings(folder, {} if own in NOTHING else own, path, lines)
    return settings


def _task_settings(folder: str, own: object, path: str, lines: dict[tuple, int]) -> TaskSettings:
    def wrong(message: str, *keys: str) -> ValueError:
        return ValueError(f"{path}, line {lines.get((folder, *keys), 1)}: {message}")

    if not isinstance(own, dict):
        raise wrong(f"{folder!r} must have keys like {', '.join(KEYS)}")
    for key, value in own.items():
        if key not in KEYS:
            raise wrong(f"unknown key {key!r}{nearest(key, KEYS)}; use {', '.join(KEYS)}", key)
        if key != "classes" and not (isinstance(value, str) and value.strip()):
            raise wrong(f"{key} must be text, found {reprlib.repr(value)}", key)
    if own.get("metric", METRICS[0]) not in METRICS:
        use = f"use {' or '.join(METRICS)}{nearest(own['metric'], METRICS)}"
        raise wrong(f"metric is {own['metric']!r}, {use}", "metric")
    if not is_template(own.get("template", DEFAULT_TEMPLATE)):
        raise wrong(f"template {own['template']!r} {TEMPLATE_RULE}", "template")
    texts: dict[str, Any] = {key: nfc(value) for key, value in own.items() if key != "classes"}
    settings = TaskSettings(nfc(folder), **texts)
    classes = own.get("classes")
    if classes not in NOTHING:
        try:
            settings.classes = _class_names(classes)
        except ValueError as error:
            raise wrong(str(error), "classes") from error
        settings.ordered = isinstance(classes, list)
        settings.where = f"{path}, line {lines.get((folder, 'classes'), 1)}"
    return settings


def _class_names(classes: object) -> dict[str, str]:
    """{folder: class name, or "" for the folder's own} of the key `classes`."""
    if not isinstance(classes, list | dict):
        raise ValueError("classes must be a list of folders, or folders with their names")
    pairs = list(classes.items()) if isinstance(classes, dict) else [(name, "") for name in classes]
    nested = [text for pair in pairs for text in pair if isinstance(text, list | dict | set)]
    if nested:  # shortened, since YAML's references can make its text huge
        raise ValueError(f"classes must be names, found {reprlib.repr(nested[0])}")
    names = {nfc(str(folder)): nfc(str(text)) for folder, text in pairs}
    if isinstance(classes, dict) and len(names) < len(pairs):
        raise ValueError("classes names a folder twice, in two Unicode forms")
    return names


def _lines(node: yaml.Node | None, above: tuple = ()) -> dict[tuple, int]:
    """{(task,) or (task, key): line number} of the keys in a YAML mapping, two levels deep."""
    lines = {}
    if isinstance(node, yaml.MappingNode) and len(above) < 2:
        for key, value in node.value:
            lines[(*above, key.value)] = key.start_mark.line + 1
            lines.update(_lines(value, (*above, key.value)))
    return lines
