"""Answers from files, whole or in parts."""

from collections.abc import Callable, Mapping
from pathlib import Path

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse
from starlette.types import Message, Receive, Scope, Send


class FileAnswer(FileResponse):
    """A file, or the parts of it that a `Range` header asks for."""

    def __init__(
        self, file: Path, media_type: str, headers: Mapping[str, str], on_piece: Callable[[], None]
    ) -> None:
        """Answer with `file`; `on_piece` is called as often as the connection has taken a piece."""
        super().__init__(file, headers=headers, media_type=media_type)
        self._on_piece = on_piece

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; HTTPException 416 where there is no such part."""

        async def watched(message: Message) -> None:
            # Of which Starlette speaks in plain text.
            if message.get("status") == 416:
                there_is = Headers(raw=message["headers"])["content-range"]
                raise HTTPException(
                    416, f"expected a part of {there_is}", headers={"Content-Range": there_is}
                )
            await send(message)
            self._on_piece()

        await super().__call__(scope, receive, watched)
