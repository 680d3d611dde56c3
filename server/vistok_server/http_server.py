"""The HTTP server around the application: its choices, and how it stops."""

import asyncio
import logging
import math
import socket
from pathlib import Path
from types import FrameType

import uvicorn
from fastapi import FastAPI

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
    ) -> None:
        self._app = app
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

    def _drop(self) -> None:
        engine = self._app.state.engine
        logger.warning("the time to finish is over: %d items are dropped", engine.in_house)
        engine.drop()
