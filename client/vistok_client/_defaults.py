"""What a client does when it is told nothing else."""

import httpx

URL = "http://127.0.0.1:8000"
TOKENIZER = "image-fsq-f8"
VIDEO_TOKENIZER = "video-fsq-t4f8"
# No limit on waiting for a connection of our own pool: many calls at once take turns.
TIMEOUT = httpx.Timeout(60.0, connect=5.0, pool=None)
