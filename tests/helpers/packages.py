"""The packages of the project and what they import, as the sources have it: docs/architecture.md."""

import ast
from pathlib import Path

from softcpt.evaluation.provenance import PROJECT_ROOT as ROOT

TOP = ("scripts", "train.py", "trainers", "datasets", "softcpt")


def package_of(module: str) -> str:
    """The package of a module's dotted name, as the picture has it; "" for those of other projects."""
    top, *rest = module.split(".")
    if top == "train":
        return "train.py"
    if top == "softcpt" or top == "trainers":
        inner = rest and (
            (ROOT / top / rest[0]).is_dir() or (ROOT / top / f"{rest[0]}.py").is_file() and top == "softcpt"
        )
        return f"{top}/{rest[0]}" if inner else top
    return top if top in ("scripts", "datasets") else ""


def imported(path: Path) -> set[str]:
    """The dotted names of the modules that a file imports, at its top and in its functions."""
    names, package = set(), path.relative_to(ROOT).parent.parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            start = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{start}.{alias.name}" for alias in node.names}
    return names


def imports() -> dict[str, set[str]]:
    """{package: the packages that it imports}, without itself."""
    found: dict[str, set[str]] = {}
    for top in TOP:
        for path in sorted((ROOT / top).rglob("*.py")) if (ROOT / top).is_dir() else [ROOT / top]:
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            package = package_of(module)
            others = {package_of(name) for name in imported(path)} - {package, ""}
            found.setdefault(package, set()).update(others)
    return found


def direct(graph: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows that do not follow from others. RecursionError where packages import in a circle."""

    def reached(name: str) -> set[str]:
        return graph[name].union(*map(reached, graph[name]))

    return {name: {o for o in below if not any(o in reached(p) for p in below)} for name, below in graph.items()}


def drawing() -> str:
    """The packages and their direct arrows, as a Mermaid diagram."""
    names = {name: name.replace("/", "_").removesuffix(".py") for name in imports()}
    lines = [f"    {node}[{name}]" for name, node in sorted(names.items())]
    for name, below in sorted(direct(imports()).items()):
        lines += [f"    {names[name]} --> {names[other]}" for other in sorted(below)]
    return "\n".join(["flowchart TB", *lines])
