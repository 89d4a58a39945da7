"""Reads the photo in a request. Nothing is written to disk, and the client decides nothing about memory or time."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import PurePosixPath

from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from chimeramix_jax.errors import in_one_line

PHOTO, EXPLAIN = "photo", "explain"  # the fields of the form
MEGABYTE = 1_000_000
SECONDS_TO_SEND = 60.0

_ROOM_FOR_FORM = 10_000  # bytes of a request around the photo
_LONGEST_NAME = 100  # characters of a file's name that are shown


@dataclass(frozen=True)
class Upload:
    """A photo, not decoded yet."""

    name: str  # of its file, without folders, in one line
    content: bytes
    explain: bool  # whether pictures and the nearest training images are requested, too


class _ParserInMemory(MultiPartParser):
    spool_max_size = 0  # files are never written to disk
    is_complete = False  # whether the last boundary has arrived: parsing a form that was cut off raises nothing

    def on_end(self) -> None:
        """Notes that the form has ended."""
        self.is_complete = True

    def close(self) -> None:
        """Closes all files, those that have not arrived completely, too."""
        for file in getattr(self, "_files_to_close_on_error", ()):
            file.close()


async def read(request: Request, megabytes: int) -> Upload:
    """Returns the photo in a form; raises HTTPException, with a sentence, for anything else."""
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise HTTPException(415, f"Send the photo as the field {PHOTO!r} of a form (multipart/form-data).")
    _refuse_announced(request, megabytes)
    parser = _ParserInMemory(
        request.headers, _limited(request, megabytes), max_files=1, max_fields=1, max_part_size=_ROOM_FOR_FORM
    )
    try:
        async with asyncio.timeout(SECONDS_TO_SEND):
            form = await parser.parse()
        if not parser.is_complete:
            raise MultiPartException("Incomplete form.")
        return await _upload(form, megabytes)
    except MultiPartException as error:
        raise HTTPException(400, _explained(error.message)) from None
    except TimeoutError:
        raise HTTPException(408, f"The photo did not arrive within {SECONDS_TO_SEND:.0f} seconds.") from None
    finally:
        parser.close()


def _refuse_announced(request: Request, megabytes: int) -> None:
    """Refuses a request that says itself that it is too large, before it is read."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > megabytes * MEGABYTE + _ROOM_FOR_FORM:
        raise _too_large(megabytes)


async def _limited(request: Request, megabytes: int) -> AsyncGenerator[bytes, None]:
    """Yields the parts of a request as they arrive; refuses the request as soon as they are too large.

    uvicorn reads on without keeping anything, so that a client that is still sending sees the answer.
    """
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > megabytes * MEGABYTE + _ROOM_FOR_FORM:
            raise _too_large(megabytes)
        yield chunk


async def _upload(form: FormData, megabytes: int) -> Upload:
    for name in form:
        if name not in (PHOTO, EXPLAIN):
            raise HTTPException(400, f"The form has an unknown field; it may have {PHOTO!r} and {EXPLAIN!r}.")
    photo, explain = form.get(PHOTO), form.get(EXPLAIN, "no")
    if not isinstance(photo, UploadFile):
        raise HTTPException(400, f"There is no photo: the form needs a file as its field {PHOTO!r}.")
    if explain not in ("yes", "no"):
        raise HTTPException(400, f"The field {EXPLAIN!r} must be 'yes' or 'no'.")
    content = await photo.read()
    name = shown_name(photo.filename or "")
    if not content:
        raise HTTPException(400, f"{name} is empty." if photo.filename else "No photo was chosen.")
    if len(content) > megabytes * MEGABYTE:
        raise _too_large(megabytes)
    return Upload(name, content, explain == "yes")


def shown_name(name: str) -> str:
    """Returns a client's name of a file without folders and control characters, and not too long to be shown."""
    base = PurePosixPath(name.replace("\\", "/")).name
    letters = "".join(letter for letter in in_one_line(base) if letter.isprintable())
    return letters[:_LONGEST_NAME] or "the photo"


def _explained(message: str) -> str:
    """Returns a message of Starlette's parser as a sentence of this program."""
    if message.startswith("Too many"):
        return f"The form may only have the fields {PHOTO!r} and {EXPLAIN!r}, each once."
    if message.startswith("Part exceeded"):
        return f"A field of the form is too long; the photo must be a file in the field {PHOTO!r}."
    return "The form is damaged or incomplete; send the photo again."


def _too_large(megabytes: int) -> HTTPException:
    return HTTPException(413, f"The photo is larger than {megabytes} MB; reduce its size first.")
