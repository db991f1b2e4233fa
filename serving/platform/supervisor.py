"""The one process behind a local service: `python -m serving.platform.supervisor FOLDER`.

It is the controller (runs what the resource describes), the router (splits the traffic) and the
parent of the server processes, which the kernel ends together with it.
"""

import asyncio
import logging
import os
import shutil
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from serving.platform.inference_service import canary_percent, predictor_template, read_template
from serving.platform.reconcile import Revisions, reconcile
from serving.platform.router import Router, Routes, Upstream
from serving.platform.server_process import ServerProcess
from serving.platform.state import ServiceDirectory

_TICK_S = 0.1
_log = logging.getLogger("shopflow.supervisor")


class Supervisor:
    """Makes what runs equal to what the resource describes, again and again."""

    def __init__(
        self, directory: ServiceDirectory, router: Router, session: aiohttp.ClientSession, url: str
    ) -> None:
        self._directory, self._router, self._session, self._url = directory, router, session, url
        self._revisions = Revisions(**directory.read(directory.revisions))
        self._servers: dict[str, ServerProcess] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._stopping: set[asyncio.Task[None]] = set()
        self._generation = -1
        self._status: dict[str, Any] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Reconcile until told to stop or the service is over, then end every server."""
        directory = self._directory
        while not stop.is_set() and directory.resource.exists() and not directory.is_abandoned():
            self.tick()
            try:
                await asyncio.wait_for(stop.wait(), _TICK_S)
            except TimeoutError:
                continue
        self._router.routes = Routes()  # what is being stopped gets no new requests
        for name in list(self._servers):
            self._retire(name)
        await asyncio.gather(*self._stopping)

    def tick(self) -> None:
        """Compare the resource with what runs and take the next steps; never waits."""
        resource = self._directory.read(self._directory.resource)
        if not resource:
            return
        generation = resource["metadata"]["generation"]
        template = predictor_template(resource) or None
        percent = canary_percent(resource) if template else None
        ready = {name for name, server in self._servers.items() if server.ready}
        revisions, split = reconcile(
            self._revisions,
            resource["metadata"]["name"],
            template=template,
            percent=percent,
            ready=ready,
        )
        if revisions != self._revisions:
            self._directory.write(self._directory.revisions, asdict(revisions))
            self._revisions = revisions
        if generation != self._generation:
            # Someone asked for something: a server that was given up gets another chance.
            for name in [name for name, server in self._servers.items() if server.failed]:
                self._retire(name)
            self._generation = generation
            _log.info("generation %d: traffic %s", generation, split)
        for name, wanted in revisions.templates.items():
            if name not in self._servers:
                self._start(name, wanted, service=resource["metadata"]["name"])
        self._route(revisions, split)
        for name in [name for name in self._servers if name not in revisions.templates]:
            self._retire(name)
        self._report(generation, revisions, split)

    def _start(self, name: str, template: Any, *, service: str) -> None:
        folder = self._directory.path / "revisions"
        server = ServerProcess(name, read_template(template), service=service, folder=folder)
        self._servers[name] = server
        self._tasks[name] = asyncio.create_task(server.run(self._session))
        self._tasks[name].add_done_callback(server.given_up)
        _log.info("%s: starting", name)

    def _retire(self, name: str) -> None:
        server, task = self._servers.pop(name), self._tasks.pop(name)
        _log.info("%s: stopping", name)
        keep = name in self._revisions.templates
        stopping = asyncio.create_task(self._end(server, task, forget=not keep))
        self._stopping.add(stopping)
        stopping.add_done_callback(self._stopping.discard)

    async def _end(self, server: ServerProcess, task: asyncio.Task[None], *, forget: bool) -> None:
        # A temporary service has no users: whoever asks it is who ends it.
        if server.url is not None and not self._directory.temporary_of():
            await self._router.drained(server.url)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await server.stop()
        if forget:
            server.forget()
        _log.info("%s: stopped", server.name)

    def _route(self, revisions: Revisions, split: dict[str, int]) -> None:
        upstreams = {
            name: Upstream(name, server.url if server.ready else None, server.template.timeout_s)
            for name, server in self._servers.items()
            if name in revisions.templates
        }
        canary = revisions.canary
        self._router.routes = Routes(
            upstreams, revisions.stable, canary, split.get(canary, 0) if canary else 0
        )

    def _report(self, generation: int, revisions: Revisions, split: dict[str, int]) -> None:
        status = {
            "generation": generation,
            "supervisor_pid": os.getpid(),
            "url": self._url,
            "stable": revisions.stable,
            "canary": revisions.canary,
            "revisions": {
                name: {
                    "storage_uri": server.template.storage_uri,
                    "traffic_percent": split.get(name, 0),
                    "ready": server.ready,
                    "failed": server.failed,
                    "reason": server.reason,
                    "pid": server.pid,
                }
                for name, server in self._servers.items()
            },
        }
        if status != self._status:
            self._directory.write(self._directory.status, status)
            self._status = status


async def _serve(directory: ServiceDirectory) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=20)
    async with aiohttp.ClientSession(
        connector=connector, auto_decompress=False, cookie_jar=aiohttp.DummyCookieJar()
    ) as session:
        router = Router(session)
        runner = web.ServerRunner(router.server())
        await runner.setup()
        port = await _listen(runner, directory.read(directory.port).get("port", 0))
        directory.write(directory.port, {"port": port})
        supervisor = Supervisor(directory, router, session, f"http://127.0.0.1:{port}")
        try:
            await supervisor.run(stop)
        finally:
            await runner.cleanup()


async def _listen(runner: web.ServerRunner, port: int) -> int:
    try:
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
    except OSError:
        if not port:
            raise
        return await _listen(runner, 0)
    return int(runner.addresses[0][1])


def main(folder: str) -> int:
    """Run the service in `folder` until SIGTERM; leave at once if it has a supervisor already."""
    import uvloop

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    directory = ServiceDirectory(Path(folder))
    if not directory.resource.exists():
        return 0  # deleted while this process was starting
    charge = directory.take_charge()
    for _ in range(20):  # a client that is just asking who is in charge holds the lock for a moment
        if charge is not None:
            break
        time.sleep(0.05)
        charge = directory.take_charge()
    if charge is None:
        _log.info("%s has a supervisor already", folder)
        return 0
    uvloop.run(_serve(directory))
    if directory.is_abandoned():
        shutil.rmtree(directory.path, ignore_errors=True)
    os.close(charge)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
