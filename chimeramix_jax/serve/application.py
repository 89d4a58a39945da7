"""The application: the page at ``/``, and the classifier at ``/classify``."""

import asyncio
import sys
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from chimeramix_jax.data.image_files import UnreadableImageError, read_uploaded_rgb
from chimeramix_jax.report.embedding import picture_uri
from chimeramix_jax.serve import upload
from chimeramix_jax.serve.examination import Examination, Examiner, Explanation
from chimeramix_jax.serve.guard import Guard
from chimeramix_jax.serve.page import Page
from chimeramix_jax.serve.upload import Upload

MOST_REQUESTS = 16  # with photos, that are read, wait or are computed at the same time; this bounds the memory

# Instead of what Starlette says if an address or a method is unknown.
_OTHERWISE = {
    404: "There is nothing at this address; the page is at / and photos are sent to /classify.",
    405: "This address does not take this method; the page is read by GET / and photos are sent by POST /classify.",
}

_Result = TypeVar("_Result")


@dataclass(frozen=True)
class Limits:
    """What the user of the command line decides."""

    megabytes: int = 20  # of a photo's file
    reject_below: float | None = None  # see ``predict``; None: every photo is answered


class Application:
    """Answers requests about one classifier.

    A single thread decodes and classifies photos, one after the other, so that the event loop stays free.
    """

    def __init__(self, examiner: Examiner, page: Page, limits: Limits):
        """Takes the classifier and the page that goes with it."""
        self._examiner, self._page, self._limits = examiner, page, limits
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="classifier")
        self._requests = 0

    def guarded(self, *, only_local: bool, allowed_host: str | None = None) -> Guard:
        """Returns the application behind the checks of ``guard``."""
        routes = [
            Route("/", self._show_page),
            Route("/classify", self._classify, methods=["POST"]),
        ]
        handlers: Mapping[Any, Any] = {HTTPException: _refuse, ClientDisconnect: _ignore, Exception: _fail}
        behind = Starlette(routes=routes, exception_handlers=handlers)
        behind.router.redirect_slashes = False  # a client that does not follow the redirection would get no answer
        return Guard(behind, self._page.policy, only_local=only_local, allowed_host=allowed_host)

    def close(self) -> None:
        """Ends the thread, without waiting for it."""
        self._worker.shutdown(wait=False, cancel_futures=True)

    async def _show_page(self, request: Request) -> Response:
        return HTMLResponse(self._page.html)

    async def _classify(self, request: Request) -> Response:
        if self._requests >= MOST_REQUESTS:
            raise HTTPException(503, "Too many photos are waiting; try again in a moment.", {"Retry-After": "2"})
        self._requests += 1
        try:
            photo = await upload.read(request, self._limits.megabytes)
            return JSONResponse(await self._in_worker(partial(self._answer, photo)))
        finally:
            self._requests -= 1

    async def _in_worker(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._worker, work)

    def _answer(self, photo: Upload) -> dict[str, Any]:
        try:
            image = read_uploaded_rgb(photo.content, photo.name, named_by=upload.PHOTO)
            examined = self._examiner.examine(
                image, photo.name, explain=photo.explain, reject_below=self._limits.reject_below
            )
        except UnreadableImageError as error:
            raise HTTPException(422, f"{photo.name} {error.reason}.") from None
        except MemoryError:
            raise HTTPException(422, f"{photo.name} needs more memory than there is; reduce its size first.") from None
        return answer(examined)


def answer(examined: Examination) -> dict[str, Any]:
    """Returns the content of an answer, in JSON's types; ``docs/serve.md`` describes it."""
    prediction, explanation = examined.prediction, examined.explanation
    pairs = zip(prediction.classes, prediction.probabilities, strict=True)
    return {
        "image": prediction.name,
        "class": prediction.predicted_class,
        "probability": prediction.probability,
        "rejected": prediction.answered is False,
        "answer": None if prediction.answered is False else prediction.predicted_class,
        "classes": [{"class": name, "probability": probability} for name, probability in pairs],
        "trained_on": prediction.trained_on,
        **({} if explanation is None else _explained(explanation)),
    }


def _explained(explanation: Explanation) -> dict[str, Any]:
    return {
        "picture": picture_uri(explanation.picture),
        "heat_map": picture_uri(explanation.overlay),
        "nearest": [
            {
                "image": neighbour.name,
                "class": neighbour.class_name,
                "similarity": neighbour.similarity,
                "picture": neighbour.picture,
            }
            for neighbour in explanation.nearest
        ],
    }


async def _refuse(request: Request, error: HTTPException) -> Response:
    return JSONResponse({"error": _OTHERWISE.get(error.status_code, error.detail)}, error.status_code, error.headers)


async def _ignore(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=400)  # nobody is there to read it


async def _fail(request: Request, error: Exception) -> Response:
    """Answers after an error that is a bug of this program; whoever runs the server sees the details."""
    traceback.print_exception(error, file=sys.stderr)
    return JSONResponse({"error": "The server failed at this; its terminal says why."}, 500)
