"""Measures the structure of the source: rooms (top-level folders and modules), their imports, and long definitions.

    python -m benchmarks.structure
    python -m benchmarks.structure --source=PATH_OF_ANOTHER_CHECKOUT

An arrow means that a file in one room imports from another room. A knot is a set of rooms, or of files, that all reach
each other through imports. ``lint-imports`` checks that there are no knots and that arrows point down the list of rooms
in pyproject.toml.
"""

import argparse
import ast
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import grimp

PACKAGE = "chimeramix_jax"


def main() -> None:
    """Prints the counts, the lines of every room, and the longest functions and classes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, default=Path.cwd(), help="the checkout")
    parser.add_argument("--longest", type=int, default=8, help="how many functions and classes to list")
    arguments = parser.parse_args()
    sys.path.insert(0, str(arguments.source))
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    files = {
        (importer, imported)
        for importer in graph.modules
        for imported in graph.find_modules_directly_imported_by(importer)
    }
    arrows = {(room(a), room(b)) for a, b in files if PACKAGE not in (a, b) and room(a) != room(b)}
    lines = Counter[str]()
    for path in sources(arguments.source):
        lines[path.relative_to(arguments.source / PACKAGE).parts[0].removesuffix(".py")] += len(
            path.read_text().splitlines()
        )
    print(f"{len(lines)} rooms, {len(arrows)} arrows, {sum(lines.values())} lines in {len(graph.modules)} files")
    print(f"rooms in knots: {described(knots(arrows))}")
    print(f"files in knots: {described(knots(files))}")
    print("\nlines of each room")
    for name, count in lines.most_common():
        print(f"{count:7}  {name}")
    for kind, found in (("functions", (ast.FunctionDef, ast.AsyncFunctionDef)), ("classes", (ast.ClassDef,))):
        print(f"\nlongest {kind}")
        for length, name, path in sorted(definitions(arguments.source, found), reverse=True)[: arguments.longest]:
            print(f"{length:7}  {name}  ({path})")


def room(module: str) -> str:
    """Returns the top-level folder or module of the package that a module belongs to."""
    return module.split(".")[1]


def sources(source: Path) -> Iterator[Path]:
    """Yields the package's files."""
    return (path for path in sorted((source / PACKAGE).rglob("*.py")))


def knots(arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Returns the sets of two or more nodes that all reach each other."""
    following: dict[str, set[str]] = {}
    for origin, target in arrows:
        following.setdefault(origin, set()).add(target)

    def reached(start: str) -> set[str]:
        found: set[str] = set()
        waiting = [start]
        while waiting:
            for target in following.get(waiting.pop(), set()) - found:
                found.add(target)
                waiting.append(target)
        return found

    reach = {node: reached(node) for node in following}
    together = {
        frozenset(other for other in reach[node] if node in reach.get(other, set()))
        for node in reach
        if node in reach[node]
    }
    return sorted(map(sorted, together), key=len, reverse=True)


def described(found: list[list[str]]) -> str:
    """Describes knots in words."""
    return "; ".join(f"{len(knot)} ({', '.join(knot)})" for knot in found) or "none"


def definitions(source: Path, kinds: tuple[type[ast.AST], ...]) -> Iterator[tuple[int, str, Path]]:
    """Yields the number of lines, the name and the file of every function or class."""
    for path in sources(source):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, kinds) and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield (node.end_lineno or node.lineno) - node.lineno + 1, node.name, path.relative_to(source)


if __name__ == "__main__":
    main()
