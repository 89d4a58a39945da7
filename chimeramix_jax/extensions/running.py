"""Runs files that may register own ideas, and says in one line, with file and line number, why one cannot be run."""

import ast
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from chimeramix_jax.errors import InputError, in_one_line
from chimeramix_jax.extensions import registry
from chimeramix_jax.extensions.registry import STATE, CodeSource

_imported_beside: dict[str, bytes] = {}  # modules that lie beside a file and were imported by it, and their content
_running: list[Path] = []  # the folders of files that are running, or whose functions are


def run_file(path: Path) -> ModuleType:
    """Runs a Python file and returns it as a module; files beside it can be imported.

    What it registers takes the place of what it registered when it ran before. Raises SyntaxError, or InputError if
    running it fails, or if another file is missing in the copy that a run would keep.
    """
    content = path.read_bytes()
    source = registry.source_of_file(path, content)
    if not _running:  # a file that runs another one, as get_config does, still needs what it has registered
        _forget_changed()
    registry.forget(source.place)
    with importable(path.parent):
        module = _executed(path, source)
    for registration in list(STATE.current.values()):
        kept = registration.kind != registry.EXPERIMENT and registration.source.content is not None
        if kept and Path(registration.source.place).parent == path.parent:
            _refuse_imports_beside(registration.source)
    return module


def run_copy(path: Path, content: bytes) -> None:
    """Runs the copy of a file that a run has kept: names go on referring to what they did."""
    source = registry.source_of_file(path, content)
    STATE.from_copies = True
    try:
        _executed(path, source)
    except SyntaxError as error:
        raise failed(error, path) from None
    finally:
        STATE.from_copies = False


def _executed(path: Path, source: CodeSource) -> ModuleType:
    """Executes exactly the content whose digest is recorded, even if the file changes meanwhile."""
    assert source.content is not None
    code = compile(source.content, str(path), "exec", dont_inherit=True)
    module = ModuleType(f"chimeramix_file_{source.digest[:16]}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # where dataclasses, for one, look for their module
    STATE.running[str(path)] = source
    try:
        with failures_named(path):
            exec(code, module.__dict__)
    finally:
        del STATE.running[str(path)]
    return module


@contextlib.contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Lets files in a folder be imported, after all others of the same name, and leaves no bytecode there.

    Until the end, what files have registered is kept even if they change.
    """
    before, writes_none = set(sys.modules), sys.dont_write_bytecode
    sys.path.append(str(folder))
    _running.append(folder)
    sys.dont_write_bytecode = True  # bytecode is taken for that of a file if this has the same size and second
    try:
        yield
    finally:
        sys.dont_write_bytecode = writes_none
        sys.path.remove(str(folder))
        _running.remove(folder)
        for name in set(sys.modules) - before:
            if _lies_in(name, folder) and (file := getattr(sys.modules[name], "__file__", None)):
                _imported_beside[name] = Path(file).read_bytes()


@contextlib.contextmanager
def failures_named(path: Path, otherwise: str | None = None) -> Iterator[None]:
    """Turns any error of own code into an InputError that names the file and the line where it failed.

    ``otherwise`` is named instead if that was outside of the file and those beside it; None: the file alone.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        raise failed(error, path, otherwise) from error


def failed(error: Exception | SystemExit, path: Path, otherwise: str | None = None) -> InputError:
    """Returns the error that names the file and the line where own code failed: in ``path`` or in a file beside it."""
    place = otherwise or str(path)
    if isinstance(error, SyntaxError) and error.filename is not None:
        place = f"{error.filename}:{error.lineno}"
    else:
        trace = error.__traceback__
        while trace is not None:
            file = trace.tb_frame.f_code.co_filename
            if Path(file).parent == path.parent:
                place = f"{file}:{trace.tb_lineno}"
            trace = trace.tb_next
    if isinstance(error, SystemExit):
        return InputError(f"{place}: ends the program (exit {error.code}), which only the program itself may do")
    name, message = type(error).__name__, str(error).strip().partition("\n")[0]  # JAX adds lines of advice
    return InputError(f"{place}: {name}" + (f": {in_one_line(message)}" if message else ""))


def _forget_changed() -> None:
    """Lets files that lie beside others be imported anew if any of them has changed."""
    files = {name: str(sys.modules[name].__file__) for name in _imported_beside if name in sys.modules}
    if all(Path(file).is_file() and Path(file).read_bytes() == _imported_beside[name] for name, file in files.items()):
        return
    for name, file in files.items():
        del sys.modules[name]
        registry.forget(file)
    _imported_beside.clear()


def _lies_in(name: str, folder: Path) -> bool:
    """Whether a module, or the package that it belongs to, is a file or folder in a folder."""
    top = sys.modules.get(name.partition(".")[0])
    file = getattr(top, "__file__", None)
    return file is not None and folder in (Path(file).parent, Path(file).parent.parent)


def _refuse_imports_beside(source: CodeSource) -> None:
    """Raises InputError if a file that registers something imports files beside it, which its copy would lack."""
    assert source.content is not None
    for node in ast.walk(ast.parse(source.content)):
        if isinstance(node, ast.Import):
            names = [name.name for name in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            names = [node.module]
        else:
            continue
        for name in names:
            if name in sys.modules and _lies_in(name, Path(source.place).parent):
                registry.forget(source.place)
                raise InputError(
                    f"{source.place}:{node.lineno}: imports {name}, a file beside it, but a run keeps a copy of "
                    f"{source.label} alone; put what is registered and what it needs into one file"
                )
