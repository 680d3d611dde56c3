"""FastAPI and an asyncio batcher by hand: two threads decode, one runs the model on whatever waits."""

import asyncio
import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import numpy as np
import orjson
import uvicorn
from fastapi import FastAPI, Request, Response

from bench.work import Work

_LARGEST_BATCH = 16


def main(source: str, size: str, port: str) -> None:
    """Serve."""
    work = Work(source, size)
    decoders, model = ThreadPoolExecutor(2), ThreadPoolExecutor(1)
    waiting: asyncio.Queue[tuple[np.ndarray, asyncio.Future[np.ndarray]]] = asyncio.Queue()

    async def run_batches() -> None:
        loop = asyncio.get_running_loop()
        while True:
            batch = [await waiting.get()]
            while len(batch) < _LARGEST_BATCH and not waiting.empty():
                batch.append(waiting.get_nowait())
            results = await loop.run_in_executor(model, work.ids, [pixels for pixels, _ in batch])
            for (_, future), ids in zip(batch, results, strict=True):
                future.set_result(ids)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(run_batches())
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/encode")
    async def encode(request: Request) -> Response:
        loop = asyncio.get_running_loop()
        pixels = await loop.run_in_executor(decoders, work.pixels, await request.body())
        future: asyncio.Future[np.ndarray] = loop.create_future()
        waiting.put_nowait((pixels, future))
        content = orjson.dumps({"ids": await future}, option=orjson.OPT_SERIALIZE_NUMPY)
        return Response(content, media_type="application/json")

    uvicorn.run(app, port=int(port), log_level="warning", access_log=False)


if __name__ == "__main__":
    main(*sys.argv[1:])
