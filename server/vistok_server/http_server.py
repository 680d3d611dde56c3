"""The HTTP server around the application: its choices, and how it stops."""

import socket
from pathlib import Path

import uvicorn
from fastapi import FastAPI

MAX_HEADER_BYTES = 128 * 1024  # request line and headers together


class HttpServer(uvicorn.Server):
    """Serves an application of `create_app`, and tells its engine first when it has to stop.

    The lifespan of the application ends only when all connections have: too late to end an upload that
    stalls.
    """

    def __init__(
        self, app: FastAPI, certificate: Path | None = None, certificate_key: Path | None = None
    ) -> None:
        self._app = app
        super().__init__(
            uvicorn.Config(
                app,
                ssl_certfile=certificate,
                ssl_keyfile=certificate_key,
                http="h11",  # the one that bounds the size of the headers
                h11_max_incomplete_event_size=MAX_HEADER_BYTES,
                ws="none",
                server_header=False,
                access_log=False,  # its lines hold the whole query, and with it the tokens of a picture
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End uploads, finish the calls that came whole, close."""
        self._app.state.engine.take_no_more()
        await super().shutdown(sockets)
