"""The client of a Vistok service: pictures and clips to token grids and back, without torch."""

from vistok_client.async_client import AsyncClient
from vistok_client.client import Client
from vistok_client.errors import (
    CallTimedOut,
    ClipDamaged,
    ConnectionFailed,
    FingerprintMismatch,
    InvalidInput,
    InvalidRequest,
    NotFound,
    Overloaded,
    RequestRefused,
    ServiceFailed,
    TokenizerError,
    Unavailable,
    UnreadableAnswer,
)
from vistok_client.reconstruction import Reconstruction
from vistok_protocol.errors import ErrorCode, VistokError
from vistok_protocol.schemas import TokenizerInfo
from vistok_protocol.tokens import PixelSize, TokenGrid

__all__ = [
    "AsyncClient",
    "CallTimedOut",
    "Client",
    "ClipDamaged",
    "ConnectionFailed",
    "ErrorCode",
    "FingerprintMismatch",
    "InvalidInput",
    "InvalidRequest",
    "NotFound",
    "Overloaded",
    "PixelSize",
    "Reconstruction",
    "RequestRefused",
    "ServiceFailed",
    "TokenGrid",
    "TokenizerError",
    "TokenizerInfo",
    "Unavailable",
    "UnreadableAnswer",
    "VistokError",
]
