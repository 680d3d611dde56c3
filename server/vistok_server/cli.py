"""The `serve` command: settings from the environment and the options, one port."""

import shlex
import socket
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from vistok_protocol.errors import VistokError
from vistok_server import garbage, logs
from vistok_server.keys import new_key
from vistok_server.settings import Settings

if TYPE_CHECKING:
    from asyncio import Future
    from collections.abc import Mapping

    from opentelemetry.sdk.trace import TracerProvider

    from vistok_protocol.schemas import TokenizerInfo

EXAMPLE_TOKENIZER = "image-fsq-f8"


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8000,
    tokenizer: Annotated[
        list[str] | None,
        typer.Option(
            help="Bundled name, folder or file, or NAME=ONE OF THESE; repeatable. All bundled if left out."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="Where the models run: auto, cpu, or such as cuda:0,cuda:1.")
    ] = None,
    ssl_certfile: Annotated[Path | None, typer.Option(help="Certificate, for HTTPS.")] = None,
    ssl_keyfile: Annotated[Path | None, typer.Option(help="Its key, where it is not beside it.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings.")] = None,
    show_settings: Annotated[
        bool, typer.Option("--show-settings", help="Print all settings as such a file, and end.")
    ] = False,
) -> None:
    """Serve tokenizers over HTTP. All settings are also environment variables that begin with VISTOK_.

    With a file of settings, SIGHUP reads it again and takes over which tokenizers it names.
    """
    load = partial(_settings, config, tokenizer, device)
    try:
        settings = load()
    except VistokError as error:
        _fail(error.detail)
    if show_settings:
        typer.echo(settings.to_toml())
        return
    logs.configure(settings.log_format, "service")
    tracer_provider = _tracer_provider()
    _make_folder(settings.grid_folder)
    listener = _listen(host, port)
    # Imported here, so that `--help` and a wrong option do not wait for it.
    from vistok_server.app import create_app
    from vistok_server.http_server import HttpServer

    url = _url(listener, "https" if ssl_certfile else "http")
    failures: list[BaseException] = []

    def report(loaded: "Future[Mapping[str, TokenizerInfo]]") -> None:
        error = loaded.exception()
        if error is None:
            garbage.settle()
            typer.echo(ready_message(url, loaded.result()))
        else:
            failures.append(error)
            server.should_exit = True

    try:
        app = create_app(settings, on_loaded=report, tracer_provider=tracer_provider)
        server = HttpServer(app, settings, ssl_certfile, ssl_keyfile, reload=load if config else None)
    except OSError as error:
        _fail(f"cannot use {ssl_certfile}: {error}")
    server.run(sockets=[listener])
    if failures:
        _fail(f"the tokenizers could not be loaded: {failures[0]}")


def key(name: Annotated[str, typer.Argument(help="Whose key it is.")]) -> None:
    """Make an API key: what its owner sends, and the entry for the setting `api_keys`."""
    secret, entry = new_key(name)
    typer.echo(f"{secret}\n{entry}")


def ready_message(url: str, tokenizers: "Mapping[str, TokenizerInfo]") -> str:
    """Say where the service is, and give one command that works as it stands."""
    name = EXAMPLE_TOKENIZER if EXAMPLE_TOKENIZER in tokenizers else next(iter(tokenizers))
    codebooks, is_video = tokenizers[name].codebooks, tokenizers[name].kind == "video"
    ids: Any = [[0, 1], [2, 3]]
    if codebooks > 1:
        ids = [[[value] * codebooks for value in row] for row in ids]
    ids = [ids] if is_video else ids
    command = [
        "curl", "--data", f'{{"ids": {ids}}}', "--header", "Content-Type: application/json",
        "--output", f"four-tokens.{'mp4' if is_video else 'png'}", f"{url}/v1/tokenizers/{name}/decode",
    ]  # fmt: skip
    return f"Vistok serves {', '.join(tokenizers)} on {url} (the calls: {url}/docs)\n{shlex.join(command)}"


def _settings(file: Path | None, tokenizers: list[str] | None, device: str | None) -> Settings:
    options = {"tokenizers": tuple(tokenizers or ()) or None, "devices": device}
    return Settings.load(file, **{name: value for name, value in options.items() if value is not None})


def _tracer_provider() -> "TracerProvider | None":
    from vistok_server.tracing import provider_from_environment  # late, as in `serve`

    try:
        return provider_from_environment()
    except VistokError as error:
        _fail(error.detail)


def _make_folder(folder: Path | None) -> None:
    """See that grids can be kept there, before anything is begun."""
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        _fail(f"cannot use {folder} as grid_folder: {error.strerror}")


def _listen(host: str, port: int) -> socket.socket:
    """Take the port before anything slow happens."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except OSError as error:
        # The address that `create_server` adds to the system's words is in our sentence already.
        reason = str(error.strerror or error).partition(" (while attempting")[0]
        _fail(f"cannot listen on {host}, port {port}: {reason}; choose others with --host and --port")


def _url(listener: socket.socket, scheme: str) -> str:
    host, port = listener.getsockname()[:2]
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def _fail(message: str) -> NoReturn:
    typer.echo(f"vistok serve: {message}", err=True)
    raise typer.Exit(1)
