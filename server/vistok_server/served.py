"""Which tokenizers are served: those that every worker has loaded; they can change while serving."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress

from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server.supervision import Supervisor

Described = Mapping[str, TokenizerInfo]


class Served:
    """Belongs to the event loop.

    Attributes:
        loaded: done when every worker has loaded the first tokenizers, with what these are by their names;
            holds the error if one could not.
    """

    def __init__(self, supervisors: Sequence[Supervisor]) -> None:
        self._supervisors = supervisors
        self._by_source: Described = {}
        self._by_name: Described = {}
        self._changing = asyncio.Lock()
        self.loaded: asyncio.Future[Described] = asyncio.Future()

    @property
    def sources(self) -> tuple[str, ...]:
        """The bundled names and folders that they were loaded from."""
        return tuple(self._by_source)

    def by_name(self) -> Described:
        """Give all; NOT_READY while the first are loaded, and when that has failed.

        A worker that is lost later does not matter here: work waits until it is back.
        """
        if not self.loaded.done():
            raise VistokError(ErrorCode.NOT_READY, "the tokenizers are still being loaded")
        if self.loaded.exception() is not None:
            raise VistokError(ErrorCode.NOT_READY, "no worker is running: see the log of the service")
        return self._by_name

    def named(self, name: str) -> TokenizerInfo:
        """Give one; TOKENIZER_NOT_FOUND, or NOT_READY."""
        served = self.by_name()
        if name not in served:
            raise VistokError(
                ErrorCode.TOKENIZER_NOT_FOUND,
                f"no tokenizer {name[:80]!r} here, there are: {', '.join(served)}",
            )
        return served[name]

    def source_of(self, name: str) -> str:
        """Tell what a tokenizer was loaded from; the errors of `named`."""
        wanted = self.named(name)
        return next(source for source, info in self._by_source.items() if info is wanted)

    async def wait_for_first(self) -> None:
        """Wait until every worker is ready, or one has failed to load."""
        try:
            described = await asyncio.gather(*(supervisor.described for supervisor in self._supervisors))
        except VistokError as error:
            self.loaded.set_exception(error)
            self.loaded.exception()  # who asks gets it; nobody has to
        else:
            self._show(described[0])
            self.loaded.set_result(self._by_name)

    async def change(
        self, sources: Sequence[str], finish: Callable[[set[str]], Awaitable[None]]
    ) -> Described:
        """Have all workers serve these, one worker after the other; give them by name.

        Those that leave are hidden first, and what was begun for them is finished. When a worker cannot,
        all stay with what they had: INVALID_REQUEST, NOT_READY.
        """
        self.by_name()
        async with self._changing:
            before = self._by_source
            self._show({source: info for source, info in before.items() if source in sources})
            try:
                await finish({info.name for source, info in before.items() if source not in sources})
                self._show(await self._change_workers(list(sources), list(before)))
            except BaseException:
                self._show(before)
                raise
        return self._by_name

    async def _change_workers(self, sources: list[str], before: list[str]) -> Described:
        described: Described = {}
        changed: list[Supervisor] = []
        for supervisor in self._supervisors:
            try:
                described = await supervisor.change(sources)
            except VistokError:
                for one in changed:
                    with suppress(VistokError):
                        await one.change(before)
                raise
            changed.append(supervisor)
        return described

    def _show(self, by_source: Described) -> None:
        self._by_source = by_source
        self._by_name = {info.name: info for info in by_source.values()}
