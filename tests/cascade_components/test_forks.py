import os
import threading

import pytest

from cascade_components.forks import forget_after_fork

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")


class Locked:
    def __init__(self):
        self.lock = threading.Lock()
        forget_after_fork(self)

    def forget(self):
        self.lock = threading.Lock()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_lock_that_somebody_held_is_free_in_a_forked_process():
    one = Locked()
    with one.lock:
        child = os.fork()
        if not child:
            os._exit(0 if one.lock.acquire(timeout=1) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert one.lock.locked()
