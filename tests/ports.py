"""Ports of this machine for the servers that tests start."""

import socket

# Below what the kernel gives to clients and to port 0, of which any may be taken by the time a
# server binds it.
_PORTS = range(12_000, 32_000)
_claims: list[socket.socket] = []


def free_port() -> int:
    """Return a port nobody listens on, for this process alone until it ends.

    Other test processes of this machine see the claim, a name in Linux' abstract namespace.
    """
    for port in _PORTS:
        claim = socket.socket(socket.AF_UNIX)
        try:
            claim.bind(f"\0shopflow-test-port-{port}")
            with socket.socket() as probe:
                # As servers do: a connection of an ended one may still be in TIME_WAIT.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("127.0.0.1", port))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return port
    raise RuntimeError(f"no port is free from {_PORTS.start} to {_PORTS.stop}")
