"""What holds for every test."""

import os

from hypothesis import settings

# One thread a process, set before anything loads OpenMP: on a machine that is busy with other things, a second thread that
# is not scheduled makes every small tensor operation of the first one wait, and the tests take many times as long.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No test may fail because the machine is busy: how long one example takes is not what properties are about.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")
