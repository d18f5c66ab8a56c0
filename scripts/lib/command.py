"""Expected errors of a command, and Ctrl-C, are one line on stderr.

Commands import this module first, so that Ctrl-C during slow imports shows no traceback either. The process still ends
by the signal, which shells report as exit status 130. A reader that has read enough, as in `| head`, ends a command
without a word and with the status of other tools, 141.
"""

from softcpt.files.console import one_line_errors, set_up  # noqa: F401

set_up()
