"""The application: routes, error handlers, start and stop, put together."""

from collections.abc import AsyncIterator, Callable, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from vistok.tokenizer import VisualTokenizer
from vistok_protocol.errors import VistokError
from vistok_server import problems
from vistok_server.catalogue import load_tokenizers
from vistok_server.connection import Attendance, Envelope
from vistok_server.engine import Engine
from vistok_server.routes import coding, information, latents
from vistok_server.settings import Settings

OnLoaded = Callable[["Future[Mapping[str, VisualTokenizer]]"], None]


def create_app(
    settings: Settings,
    tokenizers: Mapping[str, VisualTokenizer] | None = None,
    on_loaded: OnLoaded | None = None,
) -> FastAPI:
    """Build the application around tokenizers that are at hand.

    Without them it loads those that the settings name, in the background: it answers at once, and
    /readyz says when it is ready. `on_loaded` is then called, on the worker's thread, with the
    future that holds the tokenizers or the error. `app.state.engine` is the engine, from the start
    of the lifespan on.
    """

    def load() -> Mapping[str, VisualTokenizer]:
        return load_tokenizers(settings) if tokenizers is None else tokenizers

    app = FastAPI(
        title="Vistok",
        summary="Pictures into grids of token ids and back.",
        version=version("vistok"),
        lifespan=_lifespan(settings, load, on_loaded),
        redirect_slashes=False,
        redoc_url=None,
    )
    for router in (information.router, coding.router, latents.router):
        app.include_router(router)
    app.add_exception_handler(VistokError, problems.on_vistok_error)
    app.add_exception_handler(RequestValidationError, problems.on_invalid_parameters)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    app.add_middleware(Attendance, timeout_seconds=settings.timeout_seconds)
    app.add_middleware(Envelope)  # the one added last is the outermost
    return app


def _lifespan(
    settings: Settings, load: Callable[[], Mapping[str, VisualTokenizer]], on_loaded: OnLoaded | None
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        engine = app.state.engine = Engine(settings, load)
        if on_loaded is not None:
            engine.loaded.add_done_callback(on_loaded)
        engine.start()
        yield
        await engine.stop()

    return run
