"""multipart/form-data of a whole, bounded body: one part, one image (RFC 7578 over RFC 2046).

The body is in memory and bounded already, so parts are found by searching for the boundary; no
content is copied, and a flood of parts ends at the limit. Strict where leniency could hide
something: part headers are few and short, every part has a name, transfer encodings are refused.
"""

from dataclasses import dataclass

from python_multipart.multipart import parse_options_header

from service.errors import MalformedBody

MAX_HEADER_BYTES = 4096
MAX_HEADERS = 8
MAX_OPTIONS = 32
MAX_OPTION_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its field name, its content, and whether it is a file."""

    name: str
    content: memoryview
    is_file: bool


def boundary_of(content_type: str) -> bytes:
    """Read the boundary from the Content-Type header; raises MalformedBody."""
    _, parameters = parse_options_header(content_type)
    boundary = parameters.get(b"boundary", b"")
    if not 1 <= len(boundary) <= 70:
        raise MalformedBody("multipart/form-data needs a boundary of 1 to 70 characters.")
    return boundary


def split_parts(body: bytes, boundary: bytes, max_files: int) -> list[Part]:
    """Split a body into its parts, and stop at the first file above `max_files`.

    The caller refuses a request with more than `max_files` files. Raises MalformedBody.
    """
    delimiter = b"--" + boundary
    position = _first_boundary(body, delimiter)
    parts: list[Part] = []
    files = 0
    while files <= max_files and not body.startswith(b"--", position):
        start = _next_line(body, position)
        end = body.find(b"\r\n" + delimiter, start)
        if end < 0:
            raise MalformedBody("The body ends in the middle of a part.")
        parts.append(_read_part(body, start, end))
        files += parts[-1].is_file
        if len(parts) - files > MAX_OPTIONS:
            raise MalformedBody(f"A request may have {MAX_OPTIONS} parts that are not files.")
        position = end + 2 + len(delimiter)
    return parts


def _first_boundary(body: bytes, delimiter: bytes) -> int:
    """Give the position behind the first boundary; text before it is allowed, and ignored."""
    if body.startswith(delimiter):
        return len(delimiter)
    start = body.find(b"\r\n" + delimiter)
    if start < 0:
        raise MalformedBody("The body does not contain the boundary that its header announces.")
    return start + 2 + len(delimiter)


def _next_line(body: bytes, position: int) -> int:
    """Skip the padding and the line break that follow a boundary."""
    end = body.find(b"\r\n", position, position + 256)
    if end < 0 or body[position:end].strip(b" \t"):
        raise MalformedBody("A boundary must end its line.")
    return end + 2


def _read_part(body: bytes, start: int, end: int) -> Part:
    blank = body.find(b"\r\n\r\n", start, min(end, start + MAX_HEADER_BYTES))
    if blank < 0:
        raise MalformedBody("A part's headers are missing or too long.")
    headers = _read_headers(body[start:blank])
    encoding = headers.get(b"content-transfer-encoding", b"binary").lower()
    if encoding not in (b"binary", b"8bit", b"7bit"):
        raise MalformedBody("Send files as they are, without a Content-Transfer-Encoding.")
    disposition, parameters = parse_options_header(headers.get(b"content-disposition"))
    if disposition != b"form-data" or b"name" not in parameters:
        raise MalformedBody("Every part needs Content-Disposition: form-data with a name.")
    content = memoryview(body)[blank + 4 : end]
    is_file = b"filename" in parameters
    if not is_file and len(content) > MAX_OPTION_BYTES:
        raise MalformedBody("An option is too long; if it is a file, its part needs a filename.")
    return Part(parameters[b"name"].decode("utf-8", "replace"), content, is_file)


def _read_headers(head: bytes) -> dict[bytes, bytes]:
    lines = head.split(b"\r\n")
    if len(lines) > MAX_HEADERS:
        raise MalformedBody(f"A part may have {MAX_HEADERS} headers.")
    headers = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon:
            raise MalformedBody("A part has a header line without a colon.")
        headers[name.strip().lower()] = value.strip()
    return headers
