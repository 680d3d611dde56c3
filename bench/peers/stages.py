"""mosec, in two stages: processes that decode, and one that runs batches."""

import os
import sys

import numpy as np
import orjson
from mosec import Server, Worker

from bench.work import Work


def work() -> Work:
    """Make it from what the first process has left for the others."""
    return Work(os.environ["PEER_SOURCE"], os.environ["PEER_SIZE"])


class Decoder(Worker):
    """Bodies to pictures."""

    def __init__(self) -> None:
        self.work = work()

    def deserialize(self, data: bytes) -> bytes:
        """Take the body as it is."""
        return data

    def forward(self, data: bytes) -> np.ndarray:
        """Decode one."""
        return self.work.pixels(data)


class Model(Worker):
    """Pictures to ids."""

    def __init__(self) -> None:
        self.work = work()

    def forward(self, data: list[np.ndarray]) -> list[np.ndarray]:
        """Encode a batch."""
        return self.work.ids(data)

    def serialize(self, data: np.ndarray) -> bytes:
        """Give JSON."""
        return orjson.dumps({"ids": data}, option=orjson.OPT_SERIALIZE_NUMPY)


if __name__ == "__main__":
    os.environ["PEER_SOURCE"], os.environ["PEER_SIZE"], port = sys.argv[1:]
    sys.argv[1:] = ["--port", port, "--timeout", "30000"]  # which mosec reads by itself
    server = Server()
    server.append_worker(Decoder, num=1)
    server.append_worker(Model, num=1, max_batch_size=16, max_wait_time=2)
    server.run()
