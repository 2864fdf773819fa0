"""The suite's short form."""

import pytest

from tests.chaos.faults import Fault
from tests.chaos.run import run

CALLS = 1200


@pytest.mark.chaos
@pytest.mark.enable_socket
# A client's own warning of a socket that it did not close: what is left behind is counted here, when all has settled.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_nothing_is_lost_leaked_or_left():
    found = run(CALLS, size=CALLS // 2)
    assert found.problems == []
    assert (found.ends["lost"], found.leaked, found.left) == (0, 0, [])
    assert found.ends.total() == found.calls == CALLS
    assert set(found.faults) == set(map(str, Fault))
    assert {"answer", "error", "gave up"} <= set(found.ends)
    assert len(found.ways) == 20  # both frameworks' four ways, with text and tools; objects in two of them
