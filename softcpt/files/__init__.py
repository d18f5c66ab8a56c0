"""Files on disk: atomic writes, strict readers of JSON, YAML and configs, the folder of a run and its lock;
how processes that read images start.

Imports no other package of the project.
"""

# ruff: noqa: F401

from .atomic import check_replaceable, write_atomically
from .configs import BASE_KEY, read_config
from .documents import line_not_in_utf8, parse_json, read_json, read_schema, read_yaml
from .lock import describe, holder, locked
from .run_folder import CHECKPOINT, FAILURE_FILE, PROMPTS, RUN_FILES, make_run_folder, remove_empty, remove_run
from .workers import start_method
