"""Files and folders that change as one: a reader finds the old or the new, never a mixture.

Everything is written beside its place, flushed to disk, and renamed into it; so a process killed
at any moment, or a power cut, leaves the old or the new state, and at worst a hidden leftover that
the next write removes. POSIX only (Linux, macOS).
"""

import ctypes
import errno
import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

_OLD, _NEW = "old", "new"


def write_file(path: Path, content: bytes) -> None:
    """Write or replace one file. Raises OSError; the folder must exist."""
    with open_folder(path.parent) as descriptor:
        write_file_in(descriptor, path.name, content)


def write_file_in(descriptor: int, name: str, content: bytes) -> None:
    """Write or replace one file of an open folder, which stays the same folder if it is moved."""
    temporary = f".{name}.{_NEW}"
    _lock(descriptor)  # one writer at a time owns the temporary name
    try:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=descriptor)
        try:
            _write_new(descriptor, temporary, content)
        except OSError:  # a full disk should not stay full of what is of no use
            with suppress(OSError):
                os.unlink(temporary, dir_fd=descriptor)
            raise
        os.rename(temporary, name, src_dir_fd=descriptor, dst_dir_fd=descriptor)
        os.fsync(descriptor)
    finally:
        _unlock(descriptor)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write or replace a folder holding `files`, as one; other files in it are carried over.

    On Linux the old and the new folder change names in one system call. Where the system cannot do
    that, the old one is first renamed aside: `open_folder` finds it there in between.
    Raises OSError; parents are made as needed.
    """
    folder = folder.resolve()  # a symbolic link stays one, and what it points to is replaced
    folder.parent.mkdir(parents=True, exist_ok=True)
    _remove_leftovers(folder)
    staging = _beside(folder, f"{secrets.token_hex(4)}.{_NEW}")
    staging.mkdir()
    try:
        with open_folder(staging) as descriptor, open_folder(folder.parent) as parent:
            _lock(descriptor)  # says that its writer lives, see _remove_leftovers
            _carry_over(folder, staging, files)
            for name, content in files.items():
                _write_new(descriptor, name, content)
            os.fsync(descriptor)
            _put_in_place(staging, folder)
            os.fsync(parent)
    finally:
        shutil.rmtree(staging, ignore_errors=True)  # the old folder now, or one not finished
    shutil.rmtree(_beside(folder, _OLD), ignore_errors=True)


@contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """Open a folder and yield its descriptor: reads through it see one state, whatever replaces it.

    Raises FileNotFoundError, NotADirectoryError or another OSError.
    """
    descriptor = _open_either(folder, _beside(folder.resolve(), _OLD))
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_either(folder: Path, aside: Path) -> int:
    """Open the folder, or what a writer without atomic exchange has just renamed it to.

    The two are tried in turn, as that writer may be on its way from one to the other.
    """
    for place in (folder, aside) * 3:
        with suppress(FileNotFoundError):
            return os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(folder))


def is_current(folder: Path, descriptor: int) -> bool:
    """Tell whether an open folder is still the one found under that path."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(descriptor))
    except OSError:
        return False


def _beside(folder: Path, suffix: str) -> Path:
    return folder.with_name(f".{folder.name}.{suffix}")


def _lock(descriptor: int) -> None:
    with suppress(OSError):  # some network file systems have no locks
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _unlock(descriptor: int) -> None:
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)


def _write_new(descriptor: int, name: str, content: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with open(os.open(name, flags, 0o666, dir_fd=descriptor), "wb") as out:  # noqa: PTH123 - by fd
        out.write(content)
        out.flush()
        os.fsync(out.fileno())


def _remove_leftovers(folder: Path) -> None:
    """Remove what writers that were killed have left beside the folder."""
    for leftover in folder.parent.iterdir():
        if not (leftover.name.startswith(f".{folder.name}.") and leftover.suffix == f".{_NEW}"):
            continue
        with suppress(OSError), open_folder(leftover) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # fails while its writer lives
            shutil.rmtree(leftover)


def _carry_over(folder: Path, staging: Path, files: Mapping[str, bytes]) -> None:
    if not folder.is_dir():
        return
    for entry in folder.iterdir():
        if entry.name in files or entry.name in {f".{name}.{_NEW}" for name in files}:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.copytree(entry, staging / entry.name, symlinks=True)
        else:
            shutil.copy2(entry, staging / entry.name, follow_symlinks=False)


def _put_in_place(staging: Path, folder: Path) -> None:
    """Rename staging to folder; what was there is then called staging, or `.folder.old`."""
    if folder.exists():
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
        if _exchange(staging, folder):
            return
        aside = _beside(folder, _OLD)
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
    staging.rename(folder)


_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_CANNOT = {errno.ENOSYS, errno.EINVAL, errno.EOPNOTSUPP}  # old kernel, or this file system


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two names in one step; False where the system cannot. Raises OSError otherwise."""
    renameat2 = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        return False
    renameat2.argtypes = (
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_int,
        ctypes.c_char_p,
        ctypes.c_uint,
    )
    names = os.fsencode(one), os.fsencode(other)
    if renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _RENAME_EXCHANGE) == 0:
        return True
    code = ctypes.get_errno()
    if code in _CANNOT:
        return False
    raise OSError(code, os.strerror(code), str(other))
