"""tasks.yaml, the settings of users' own tasks.

flowers:                                  # the task's folder, or its name in the CSV; tasks are in this order
  name: flower species recognition        # the task in words; default: the folder's name
  template: "a photo of a {}, a type of flower."
  metric: mean_per_class                  # default: accuracy
  classes: {ox_eye: ox-eye daisy, rose: rose}   # folders in label order, with their names; or a list of folders
"""

import os
import reprlib
from collections.abc import Iterable
from dataclasses import dataclass

import yaml

from storage import read_yaml

from .messages import nearest, summary
from .multitask import DEFAULT_TEMPLATE, METRICS, TEMPLATE_RULE, is_template

SETTINGS_FILE = "tasks.yaml"
KEYS = ("name", "template", "metric", "classes")


@dataclass
class TaskSettings:
    """The settings of one task. `classes` maps folders, in label order, to class names; None for all, sorted."""

    folder: str
    name: str = ""
    template: str = DEFAULT_TEMPLATE
    metric: str = "accuracy"
    classes: dict[str, str] | None = None
    where: str = ""  # file and line of the classes, for messages

    def __post_init__(self):
        self.name = self.name or self.folder.replace("_", " ")

    def order(self, found: Iterable[str]) -> dict[str, str]:
        """{folder: class name} in label order. Raises ValueError unless `classes` are exactly the classes found."""
        found = sorted(found)
        if self.classes is None:
            return {name: name.replace("_", " ") for name in found}
        unknown = [name for name in self.classes if name not in found]
        if unknown:
            raise ValueError(f"{self.where}: {self.folder!r} has no class {unknown[0]!r}{nearest(unknown[0], found)}")
        left_out = [name for name in found if name not in self.classes]
        if left_out:
            raise ValueError(f"{self.where}: the classes of {self.folder!r} lack {summary(left_out)}")
        names = list(self.classes.values())
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{self.where}: two classes of {self.folder!r} are called {twice[0]!r}")
        return self.classes


def read_settings(path: str, tasks: Iterable[str]) -> dict[str, TaskSettings]:
    """{folder of a task: its settings} in the order of the file, empty without a file.

    Raises ValueError, with the line, for a malformed file and for a task that is not one of `tasks`.
    """
    if not os.path.isfile(path):
        return {}
    content = read_yaml(path)
    with open(path, encoding="utf-8") as file:
        lines = _lines(yaml.compose(file, Loader=yaml.SafeLoader))
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected tasks as keys, found {type(content).__name__}")
    tasks, settings = list(tasks), {}
    for folder, own in content.items():
        where = f"{path}, line {lines.get((folder,), 1)}"
        if folder not in tasks:
            raise ValueError(f"{where}: no task {folder!r}{nearest(folder, tasks)}; there are {summary(sorted(tasks))}")
        settings[folder] = _task_settings(folder, own or {}, path, lines)
    return settings


def _task_settings(folder: str, own: object, path: str, lines: dict[tuple, int]) -> TaskSettings:
    def wrong(message: str, *keys: str) -> ValueError:
        return ValueError(f"{path}, line {lines.get((folder, *keys), 1)}: {message}")

    if not isinstance(own, dict):
        raise wrong(f"{folder!r} must have keys like {', '.join(KEYS)}")
    for key, value in own.items():
        if key not in KEYS:
            raise wrong(f"unknown key {key!r}{nearest(key, KEYS)}; use {', '.join(KEYS)}", key)
        if key != "classes" and not isinstance(value, str):
            raise wrong(f"{key} must be text, found {reprlib.repr(value)}", key)
    if own.get("metric", METRICS[0]) not in METRICS:
        use = f"use {' or '.join(METRICS)}{nearest(own['metric'], METRICS)}"
        raise wrong(f"metric is {own['metric']!r}, {use}", "metric")
    if not is_template(own.get("template", DEFAULT_TEMPLATE)):
        raise wrong(f"template {own['template']!r} {TEMPLATE_RULE}", "template")
    classes = own.get("classes")
    texts = [*classes, *classes.values()] if isinstance(classes, dict) else classes if isinstance(classes, list) else []
    nested = [text for text in texts if isinstance(text, list | dict | set)]
    if nested:  # shortened, since YAML's references can make its text huge
        raise wrong(f"classes must be names, found {reprlib.repr(nested[0])}", "classes")
    if isinstance(classes, list):
        classes = {str(name): str(name).replace("_", " ") for name in classes}
    elif isinstance(classes, dict):
        classes = {str(name): str(text) for name, text in classes.items()}
    elif classes is not None:
        raise wrong("classes must be a list of folders, or folders with their names", "classes")
    where = f"{path}, line {lines.get((folder, 'classes'), 1)}"
    return TaskSettings(**{**own, "folder": folder, "classes": classes, "where": where})


def _lines(node: yaml.Node | None, above: tuple = ()) -> dict[tuple, int]:
    """{(task,) or (task, key): line number} of the keys in a YAML mapping, two levels deep."""
    lines = {}
    if isinstance(node, yaml.MappingNode) and len(above) < 2:
        for key, value in node.value:
            lines[(*above, key.value)] = key.start_mark.line + 1
            lines.update(_lines(value, (*above, key.value)))
    return lines
