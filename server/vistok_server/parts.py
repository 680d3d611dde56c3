"""One thing that was sent, before anybody has looked into it."""

from dataclasses import dataclass

from vistok_protocol import media_types
from vistok_protocol.npy import MAGIC as NPY_MAGIC

_UNNAMED = ("", "application/octet-stream")  # what a form gives to a file that it knows nothing about


@dataclass(frozen=True)
class Part:
    """Bytes, and their media type in lower case and without parameters."""

    data: bytes
    media_type: str

    @property
    def is_array(self) -> bool:
        """Whether it is an array; what has no type says by itself what it is."""
        return self.media_type == media_types.NPY or (
            self.media_type in _UNNAMED and self.data.startswith(NPY_MAGIC)
        )

    @property
    def is_picture(self) -> bool:
        """Whether it is an encoded picture, or may be one."""
        return not self.is_array and (self.media_type.startswith("image/") or self.media_type in _UNNAMED)
