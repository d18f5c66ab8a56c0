"""Whether the finished runs of some calls of train.py are those that the calls would make; used by methods.sh.

    printf '%s\0' 4 --output-dir A --trainer CoOp 4 ... | python scripts/lib/done.py [--separate]

Standard input has, for each call, the number of its arguments and these, each ended by a NUL. With --separate a call is
made once per task. Exit status 2, and an error for each run that differs, in its data or its config.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from scripts.lib.command import one_line_errors  # first: the imports below take seconds

from scripts.lib.train_run import Call, other_runs


def read_calls(text: str, separate: bool) -> list[Call]:
    """The calls in the text of the standard input."""
    words, calls = text.split("\0")[:-1], []
    while words:
        count = int(words[0])
        calls.append(Call(words[1 : count + 1], separate))
        words = words[count + 1 :]
    return calls


@one_line_errors(2)
def main(argv: list[str] | None = None) -> int:
    argv = sys.argv[1:] if argv is None else argv
    others = other_runs(read_calls(sys.stdin.buffer.read().decode("utf-8", "surrogateescape"), "--separate" in argv))
    for text in others.values():
        print(f"error: {text}", file=sys.stderr)
    if others:
        print("Here OUT=FOLDER chooses the --output-dir; a flag named above is added to this command", file=sys.stderr)
    return 2 if others else 0


if __name__ == "__main__":
    sys.exit(main())
