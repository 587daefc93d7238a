"""Functions have at most 60 lines."""

import ast
import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 60  # without the docstring and nested definitions
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def lines_of(function: ast.AST) -> int:
    """The lines of a function, without its docstring and nested definitions."""
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    left_out = list(outermost(function))
    if ast.get_docstring(function) is not None:
        left_out.append(function.body[0])
    return length(function) - sum(map(length, left_out))


def length(node: ast.AST) -> int:
    return node.end_lineno - node.lineno + 1  # pyright: ignore[reportAttributeAccessIssue]


def outermost(node: ast.AST):
    """The outermost definitions inside a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, DEFINITIONS):
            yield child
        else:
            yield from outermost(child)


def test_no_function_is_too_long() -> None:
    listed = ["git", "ls-files", "-co", "--exclude-standard", "*.py"]
    files = subprocess.check_output(listed, cwd=ROOT, text=True).splitlines()
    assert len(files) > 100
    long = [
        f"{file}:{node.lineno} {node.name}"
        for file in files
        if (ROOT / file).is_file()
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8")))
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and lines_of(node) > MAX_LINES
    ]
    assert not long


def test_the_count_leaves_out_docstrings_and_nested_functions() -> None:
    source = '''
def outer():
    """One
    two."""
    def inner():
        return 1
    return inner
'''
    assert lines_of(ast.parse(source).body[0]) == 2
