"""The HTTP server around the application: its choices, and how it stops."""

import asyncio
import logging
import math
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

from vistok_protocol.errors import VistokError
from vistok_server.http_protocol import BoundedHttpProtocol
from vistok_server.settings import Settings

logger = logging.getLogger(__name__)

# For the errors of what is dropped, before connections are cut.
_LAST_WORDS_SECONDS = 5


class HttpServer(uvicorn.Server):
    """Serves an application of `create_app`, and tells its engine first when it has to stop.

    The lifespan of the application ends only when all connections have: too late to end an upload that
    stalls.
    """

    def __init__(
        self,
        app: FastAPI,
        settings: Settings,
        certificate: Path | None = None,
        certificate_key: Path | None = None,
        reload: Callable[[], Settings] | None = None,
    ) -> None:
        self._app = app
        self._reload = reload
        self._reloading: asyncio.Task[None]  # kept, since the loop forgets tasks
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=certificate,
                ssl_keyfile=certificate_key,
                http=BoundedHttpProtocol,
                ws="none",
                server_header=False,
                timeout_graceful_shutdown=math.ceil(settings.grace_seconds) + _LAST_WORDS_SECONDS,
                log_config=None,  # the command's own
                access_log=False,  # its lines hold the whole query, and with it the tokens of a picture
            )
        )

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and listen to SIGHUP where there is a file to read again."""
        await super().startup(sockets)
        if self._reload is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._on_hang_up, self._reload)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop in peace at the first signal, at once at the second."""
        if self.should_exit:
            self.force_exit = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End uploads, finish the calls that came whole within the grace time, close."""
        engine = self._app.state.engine
        engine.take_no_more()
        late = asyncio.get_running_loop().call_later(engine.settings.grace_seconds, self._drop)
        try:
            await super().shutdown(sockets)
        finally:
            late.cancel()

    def _on_hang_up(self, reload: Callable[[], Settings]) -> None:
        self._reloading = asyncio.create_task(self._change(reload))

    async def _change(self, reload: Callable[[], Settings]) -> None:
        try:
            settings = reload()
            served = await self._app.state.engine.change(settings.sources)
        except VistokError as error:
            logger.error("the settings were read again, and nothing was changed: %s", error)
        else:
            logger.info("the settings were read again: serving %s", ", ".join(served))

    def _drop(self) -> None:
        engine = self._app.state.engine
        logger.warning("the time to finish is over: %d items are dropped", engine.in_house)
        engine.drop()
