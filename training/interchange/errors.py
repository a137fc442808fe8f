"""Why a checkpoint cannot come in or go out, as one tree.

InterchangeError
|-- SourceUnreadable   no file, a damaged file, or not what torch.save writes
|-- CodeInside         reading it would run code that the file names; it was not read
|-- WrongLayout        another layout than the one that was named, or an unclear choice of files
|-- WrongTensors       tensors are missing, unknown, or of other shapes
|-- BadArguments       architecture arguments that are needed, unknown or contradict the file
`-- ExportRefused      what would be written is not what the checkpoint gives
"""


class InterchangeError(Exception):
    """A checkpoint cannot be imported or exported; the message says why and what to do."""


class SourceUnreadable(InterchangeError):
    """There is no such file, or it cannot be read as a checkpoint."""


class CodeInside(InterchangeError):
    """The file holds objects whose reading runs code; it was not read."""


class WrongLayout(InterchangeError):
    """The file is a checkpoint, but not of the layout that was named."""


class WrongTensors(InterchangeError):
    """The layout is right, but tensors are missing, unknown or of another shape."""


class BadArguments(InterchangeError):
    """The arguments do not describe a network of this layout."""


class ExportRefused(InterchangeError):
    """The exported file would not give what the checkpoint gives."""
