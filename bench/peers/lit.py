"""LitServe, with one worker that decodes and runs batches."""

import sys
from typing import Annotated

import litserve
import numpy as np
from fastapi import Depends, Request

from bench.work import Work


async def body_of(request: Request) -> bytes:
    """Give the raw body, which LitServe itself would read as JSON."""
    return await request.body()


class Api(litserve.LitAPI):
    """Its four hooks."""

    source, size = sys.argv[1:3]

    def setup(self, device: str) -> None:
        """Load the tokenizer."""
        self.work = Work(self.source, self.size)

    def decode_request(self, request: Annotated[bytes, Depends(body_of)]) -> bytes:
        """Take the body as it is."""
        return request

    def predict(self, bodies: list[bytes]) -> list[np.ndarray]:
        """Decode and encode a batch."""
        return self.work.ids([self.work.pixels(body) for body in bodies])

    def encode_response(self, ids: np.ndarray) -> dict[str, object]:
        """Give JSON."""
        return {"ids": ids.tolist()}


if __name__ == "__main__":
    server = litserve.LitServer(
        Api(max_batch_size=16, batch_timeout=0.002, api_path="/encode"),
        accelerator="cpu",
        workers_per_device=2,
    )
    server.run(port=int(sys.argv[3]), log_level="warning", generate_client_file=False)
