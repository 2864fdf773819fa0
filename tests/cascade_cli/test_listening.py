import socket

import pytest

from cascade_cli.listening import listen, url_of

pytestmark = pytest.mark.enable_socket


def test_a_free_port_is_named():
    with listen("127.0.0.1", 0) as listener:
        assert url_of("localhost", listener) == f"http://localhost:{listener.getsockname()[1]}"


@pytest.mark.skipif(not socket.has_ipv6, reason="there is no IPv6")
def test_addresses_with_colons_stand_in_brackets():
    try:
        listener = listen("::1", 0)
    except OSError:
        pytest.skip("this machine has no address ::1")
    with listener:
        assert url_of("::1", listener) == f"http://[::1]:{listener.getsockname()[1]}"


def test_a_port_in_use_is_told():
    with listen("127.0.0.1", 0) as listener, pytest.raises(OSError, match=r"the port is in use .*Give another") as told:
        listen("127.0.0.1", listener.getsockname()[1])
    assert "Cannot listen at 127.0.0.1:" in str(told.value)


def test_an_address_of_another_machine_is_told():
    with pytest.raises(OSError, match=r"Cannot listen at 192\.0\.2\.1:0: Cannot assign"):
        listen("192.0.2.1", 0)
