"""What every server of ours does first: it opens a port, and says where it is."""

from __future__ import annotations

import errno
import os
import socket


def listen(host: str, port: int) -> socket.socket:
    """Open a port; 0 takes any that is free.

    Raises:
        OSError: It cannot be had; the message says why, and what to do.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        why = f"the port is in use ({os.strerror(errno.EADDRINUSE)})" if taken else error.strerror
        msg = f"Cannot listen at {host}:{port}: {why}. Give another --host or --port."
        raise OSError(msg) from None


def url_of(host: str, listener: socket.socket) -> str:
    """Where clients find it: the host as it was given, and the port that it got."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listener.getsockname()[1]}"
