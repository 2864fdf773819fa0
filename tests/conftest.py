import pytest
from hypothesis import settings

from tests.openai_server import serving

# The same examples every time: a test that fails does so for the code's sake.
settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")


@pytest.fixture(scope="session")
def running_server():
    with serving() as found:
        yield found


@pytest.fixture
def server(running_server):
    """An OpenAI-compatible server on loopback; its test needs the mark `enable_socket`."""
    running_server.forget()
    return running_server
