"""multipart/form-data, against its own encoder and against everything that is not it."""

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from python_multipart.multipart import MultipartParser

from service.errors import MalformedBody
from service.multipart import boundary_of, split_parts

BOUNDARY = b"XX"
FILE = b'Content-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
OPTION = b'Content-Disposition: form-data; name="normalize"\r\n\r\n'


def body(*parts: bytes, end: bytes = b"--XX--\r\n") -> bytes:
    return b"".join(b"--XX\r\n" + part + b"\r\n" for part in parts) + end


def split(raw: bytes, max_files: int = 10) -> list[tuple[str, bytes, bool]]:
    parts = split_parts(raw, BOUNDARY, max_files)
    return [(part.name, bytes(part.content), part.is_file) for part in parts]


def test_files_and_options_are_told_apart_by_the_filename():
    raw = body(FILE + b"\x00png\r\n", OPTION + b"true")
    assert split(raw) == [("files", b"\x00png\r\n", True), ("normalize", b"true", False)]


def test_an_empty_part_an_empty_body_a_preamble_and_an_epilogue_are_fine():
    assert split(body(FILE)) == [("files", b"", True)]
    assert split(body()) == []
    assert split(b"ignored\r\n" + body(FILE + b"x") + b"ignored") == [("files", b"x", True)]


def test_padding_after_a_boundary_is_fine():
    assert split(b"--XX \t\r\n" + FILE + b"x\r\n--XX--") == [("files", b"x", True)]


def test_reading_stops_at_the_first_file_too_many():
    assert len(split(body(*[FILE + b"x"] * 1000), max_files=3)) == 4


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"nothing",
        b"--XX",
        b"--XX\r\n",
        b"--XXjunk\r\n" + FILE + b"x\r\n--XX--",
        body(FILE + b"x", end=b""),
        body(FILE + b"x", end=b"--XX"),
        body(b"x"),
        body(b"\r\n\r\nx"),
        body(b"Content-Type: image/png\r\n\r\nx"),
        body(b"Content-Disposition: attachment; name=a\r\n\r\nx"),
        body(b'Content-Disposition: form-data; filename="a"\r\n\r\nx'),
        body(b"no colon\r\n\r\nx"),
        body(b"A: b\r\n" * 9 + FILE + b"x"),
        body(b"A: " + b"b" * 5000 + b"\r\n" + FILE + b"x"),
        body(b"Content-Transfer-Encoding: base64\r\n" + FILE + b"eA=="),
        body(*[OPTION + b"x"] * 33),
        body(OPTION + b"x" * 70_000),
    ],
)
def test_what_is_not_multipart_is_malformed(raw: bytes):
    with pytest.raises(MalformedBody):
        split(raw)


@pytest.mark.parametrize("header", ["", "multipart/form-data", "multipart/form-data; boundary="])
def test_a_boundary_must_be_announced(header: str):
    with pytest.raises(MalformedBody):
        boundary_of(header)


@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=8), st.binary(max_size=200)), min_size=1, max_size=8
    )
)
def test_what_a_client_encodes_comes_back(files: list[tuple[str, bytes]]):
    fields = [("files", (name, content)) for name, content in files]
    request = httpx.Request("POST", "http://service/", files=fields)
    parts = split_parts(request.read(), boundary_of(request.headers["content-type"]), 100)
    assert [bytes(part.content) for part in parts] == [content for _, content in files]
    assert {(part.name, part.is_file) for part in parts} == {("files", True)}


@given(st.lists(st.sampled_from([b"--XX", b"\r\n", b"--", b"-", b"XX", b"\r", b"\n", b"a"])))
def test_contents_that_look_like_boundaries_are_cut_as_a_reference_parser_cuts_them(pieces):
    raw = body(FILE + b"".join(pieces), FILE + b"end")
    contents: list[bytes] = []
    parser = MultipartParser(
        BOUNDARY,
        {
            "on_part_begin": lambda: contents.append(b""),
            "on_part_data": lambda data, start, end: contents.append(
                contents.pop() + data[start:end]
            ),
        },
    )
    try:
        ours = [content for _, content, _ in split(raw)]
    except MalformedBody:
        return  # stricter is fine, different is not
    parser.write(raw)
    assert ours == contents
