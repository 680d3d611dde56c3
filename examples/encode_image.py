"""Turn a picture into tokens, keep them in a file, and decode them again.

Start the service (`make serve`), then: python examples/encode_image.py picture.jpg
"""

import sys
from pathlib import Path

from vistok_client import Client, TokenGrid


def encode_image(client: Client, picture: Path) -> Path:
    """Write the tokens and the reconstruction beside the picture; return the path of the latter."""
    grid = client.encode(picture)
    rows, columns = grid.shape
    print(f"{picture.name}: {rows} x {columns} ids of {grid.vocabulary_size} by {grid.tokenizer}")
    print(f"the first row: {grid.ids[0].tolist()}")

    tokens = picture.with_suffix(".vtok")
    grid.save(tokens)
    print(f"{tokens.name}: {tokens.stat().st_size} bytes, {grid.bits_per_pixel:.3f} bits per pixel")

    decoded = picture.with_name(f"{picture.stem}-decoded.png")
    client.decode(TokenGrid.load(tokens)).save(decoded)
    print(f"{decoded.name}: what the tokens say")
    return decoded


if __name__ == "__main__":
    with Client() as the_client:
        encode_image(the_client, Path(sys.argv[1]))
