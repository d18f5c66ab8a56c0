"""A finished run, loaded again: for predictions on pictures of one's own, for exports, and for tasks that it has not
seen. Uses `train` for the config, and the trainers; what needs neither is in `inference`."""

import train  # noqa: F401  first: it provides Dassl
