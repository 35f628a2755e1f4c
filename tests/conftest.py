"""What holds for all tests."""

import signal
from importlib.util import find_spec

# Stage 1's packages may be missing where only stage 2 is installed; its tests then are not collected.
collect_ignore_glob = [] if find_spec("mmpose") and find_spec("dask") else ["unit/stages/pose", "*/test_*pose*"]

# A shell that runs tests in the background has them ignore Ctrl-C, which some send to themselves.
signal.signal(signal.SIGINT, signal.default_int_handler)
