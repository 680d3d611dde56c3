"""The application: routes, error handlers, start and stop, put together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from vistok_protocol.errors import VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_server import problems, tracing
from vistok_server.bounded_folder import bounded_folder
from vistok_server.clips.cache import ClipCache
from vistok_server.connection import Attendance, Envelope
from vistok_server.engine import Engine
from vistok_server.grid_store import GridStore
from vistok_server.routes import administration, coding, grids, information, latents
from vistok_server.settings import Settings
from vistok_server.workers.placement import placements
from vistok_server.workers.process import ProcessWorker
from vistok_server.workers.worker import Worker

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from vistok.tokenizer import VisualTokenizer

OnLoaded = Callable[["asyncio.Future[Mapping[str, TokenizerInfo]]"], None]


def create_app(
    settings: Settings,
    tokenizers: "Mapping[str, VisualTokenizer] | None" = None,
    on_loaded: OnLoaded | None = None,
    tracer_provider: "TracerProvider | None" = None,
) -> FastAPI:
    """Build the application.

    Worker processes, on the devices of the settings, load what these name: in the background, it answers
    at once, and /readyz says when it is ready. `on_loaded` is then called with the future that holds the
    tokenizers' descriptions or the error. Tokenizers that are at hand are run on a thread of this process
    instead. `app.state.engine` is the engine, from the start of the lifespan on. Calls are traced where there
    is a provider of tracers.
    """
    app = FastAPI(
        title="Vistok",
        summary="Pictures into grids of token ids and back.",
        version=version("vistok"),
        lifespan=_lifespan(settings, tokenizers, on_loaded, tracer_provider),
        redirect_slashes=False,
        redoc_url=None,
        # FastAPI's own spans hold the whole query, and with it the tokens of a picture.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    for router in (information.router, coding.router, latents.router, grids.router):
        app.include_router(router)
    if settings.admin_keys:
        app.include_router(administration.router)
    app.add_exception_handler(VistokError, problems.on_vistok_error)
    app.add_exception_handler(HTTPException, problems.on_http_exception)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["*"],
            allow_headers=["*"],
            expose_headers=["*"],
        )
    app.add_middleware(Attendance, timeout_seconds=settings.timeout_seconds)
    # The one added last is the outermost.
    app.add_middleware(Envelope, tracer=tracing.tracer_of(tracer_provider))
    return app


def _lifespan(
    settings: Settings,
    tokenizers: "Mapping[str, VisualTokenizer] | None",
    on_loaded: OnLoaded | None,
    tracer_provider: "TracerProvider | None",
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def run(app: FastAPI) -> AsyncIterator[None]:
        engine = app.state.engine = Engine(settings, _workers(settings, tokenizers))
        if on_loaded is not None:
            engine.served.loaded.add_done_callback(on_loaded)
        with (
            bounded_folder(settings.grid_folder, settings.max_grid_bytes) as grid_folder,
            bounded_folder(None, settings.max_clip_cache_bytes) as clip_folder,
        ):
            app.state.grid_store = GridStore(grid_folder)
            app.state.clip_cache = ClipCache(clip_folder, engine.off_loop)
            engine.start()
            yield
            await engine.stop()
        await tracing.send_rest(tracer_provider)

    return run


def _workers(settings: Settings, tokenizers: "Mapping[str, VisualTokenizer] | None") -> list[Worker]:
    if tokenizers is None:
        return [ProcessWorker(settings, placement) for placement in placements(settings)]
    from vistok_server.workers.in_process import InProcessWorker  # brings torch, which others need not have

    return [InProcessWorker(tokenizers, settings)]
