"""What folders hold."""


def contents(folder):
    """Maps the path of every file in a folder, relative to it, to the bytes of the file."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
