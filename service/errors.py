"""Every way a request can fail, as one tree: an error knows its status, code and sentence.

ServiceError
|-- BadRequest 400            MalformedBody, UnknownOption, BadOption, BadHeader, NoCritics
|-- NotFound 404              MethodNotAllowed 405, NotAcceptable 406, BodyTimeout 408
|-- TooLarge 413              BodyTooLarge, ImageBytesTooLarge, TooManyImages, TooManyPairs
|-- Unsupported 415           UnsupportedMediaType, UnsupportedEncoding, UnsupportedFormat
|-- Unprocessable 422         ImageUndecodable, ImageTooLarge, TooManyFrames
|-- ServerFault 500           InternalError, ModelFailed
|-- Unavailable 503           QueueFull, Draining, NotReady, OutOfMemory (all with Retry-After)
`-- DeadlineExceeded 504

Sentences are written where the error is raised; the text of a foreign exception never is one.
"""

from typing import ClassVar


class ServiceError(Exception):
    """A failure that its caller may see: `status`, `code`, a sentence, perhaps an image's `index`.

    index          position of the guilty image in the request, counted from 0
    retry_after_s  whole seconds after which a retry may succeed
    headers        further headers of the answer
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal"

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        retry_after_s: int | None = None,
        headers: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.index = index
        self.retry_after_s = retry_after_s
        self.headers = headers

    def body(self, request_id: str) -> dict[str, object]:
        """Give the one JSON shape all errors have."""
        error: dict[str, object] = {
            "code": self.code,
            "message": self.message,
            "request_id": request_id,
        }
        if self.index is not None:
            error["index"] = self.index
        return {"error": error}


class BadRequest(ServiceError):
    """The request says something that has no meaning here."""

    status = 400
    code = "bad_request"


class MalformedBody(BadRequest):
    """The body is not what its content type promises."""

    code = "malformed_body"


class UnknownOption(BadRequest):
    """An option this route does not know."""

    code = "unknown_option"


class BadOption(BadRequest):
    """A known option with a value it cannot have."""

    code = "bad_option"


class BadHeader(BadRequest):
    """A header with a value it cannot have."""

    code = "bad_header"


class NoCritics(BadRequest):
    """The checkpoint has no critics, so nothing can be scored."""

    code = "no_critics"


class NotFound(ServiceError):
    """Nothing lives at this path."""

    status = 404
    code = "not_found"


class MethodNotAllowed(ServiceError):
    """The path exists, the method does not."""

    status = 405
    code = "method_not_allowed"


class NotAcceptable(ServiceError):
    """The Accept header names no form this route can answer in."""

    status = 406
    code = "not_acceptable"


class BodyTimeout(ServiceError):
    """The body came too slowly."""

    status = 408
    code = "body_timeout"


class TooLarge(ServiceError):
    """More bytes or items than one request may hold."""

    status = 413
    code = "too_large"


class BodyTooLarge(TooLarge):
    """The body has too many bytes."""

    code = "body_too_large"


class ImageBytesTooLarge(TooLarge):
    """One image has too many bytes."""

    code = "image_bytes_too_large"


class TooManyImages(TooLarge):
    """The request has too many images."""

    code = "too_many_images"


class TooManyPairs(TooLarge):
    """The request asks for too many pairs."""

    code = "too_many_pairs"


class Unsupported(ServiceError):
    """A format this service does not read."""

    status = 415
    code = "unsupported"


class UnsupportedMediaType(Unsupported):
    """The body has a content type that no input has."""

    code = "unsupported_media_type"


class UnsupportedEncoding(Unsupported):
    """The body is compressed; images are compressed already."""

    code = "unsupported_encoding"


class UnsupportedFormat(Unsupported):
    """An image in a format that is known but not accepted."""

    code = "unsupported_format"


class Unprocessable(ServiceError):
    """An image that was understood as such, and cannot be used."""

    status = 422
    code = "unprocessable"


class ImageUndecodable(Unprocessable):
    """An image that is damaged, or no image at all."""

    code = "image_undecodable"


class ImageTooLarge(Unprocessable):
    """An image whose header declares too many pixels."""

    code = "image_too_large"


class TooManyFrames(Unprocessable):
    """An image whose header declares too many frames."""

    code = "too_many_frames"


class InternalError(ServiceError):
    """A fault of ours; the log has the details under the request's id."""

    code = "internal"


class ModelFailed(ServiceError):
    """The model failed on this image, alone in its batch."""

    code = "model_failed"


class Unavailable(ServiceError):
    """Not now: the answer carries Retry-After."""

    status = 503
    code = "unavailable"

    def __init__(self, message: str, *, retry_after_s: int = 1, index: int | None = None) -> None:
        super().__init__(message, retry_after_s=retry_after_s, index=index)


class QueueFull(Unavailable):
    """The queue is at its bound."""

    code = "queue_full"


class Draining(Unavailable):
    """The service is shutting down and takes no new work."""

    code = "draining"


class NotReady(Unavailable):
    """The service has not finished starting, or its engine has stalled."""

    code = "not_ready"


class OutOfMemory(Unavailable):
    """The model had no memory for this image, even alone."""

    code = "out_of_memory"


class DeadlineExceeded(ServiceError):
    """The deadline of X-Timeout-Ms passed before the answer was there."""

    status = 504
    code = "deadline_exceeded"
