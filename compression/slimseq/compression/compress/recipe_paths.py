"""How the recipe of a run names data files, so that `build` finds them again, also on another machine.

`build` looks for a path in the folder of the recipe first, and then in the working directory. So files beside or below
the recipe are named relative to it, and move along with it. Other files are named as the user named them.
"""

from collections.abc import Iterable
from pathlib import Path

from slimseq.compression.step_keys import data_files


def path_in_recipe(name: str, folder: Path) -> str:
    """Returns how a recipe names a data file, or both files of parallel text. The name of a hub data set stays.

    Args:
        name: as the user named it.
        folder: of the recipe.
    """
    paths = data_files(name)
    if not paths:
        return name
    resolved, folder = [path.resolve() for path in paths], folder.resolve()
    if all(path.is_relative_to(folder) for path in resolved):
        return ":".join(path.relative_to(folder).as_posix() for path in resolved)
    if all((folder / path).exists() for path in paths):
        # The recipe's folder has a file of the same name, such as its own `dev.jsonl`, which a build would take.
        return ":".join(map(str, resolved))
    return name


def note_on_paths(names: Iterable[str], folder: Path) -> str:
    """Returns comments for the head of a recipe: what to do with paths that do not move along with it. May be empty.

    Args:
        names: data files as the recipe names them.
        folder: of the recipe.
    """
    outside = [name for name in dict.fromkeys(names) if _is_outside(name, folder)]
    relative = [name for name in outside if not any(path.is_absolute() for path in data_files(name))]
    absolute = [name for name in outside if name not in relative]
    lines = []
    if relative:
        named = ", ".join(map(repr, relative))
        lines.append(f"# Run `slimseq build` in the folder where compress ran. Relative to that folder: {named}.")
    if absolute:
        named = ", ".join(map(repr, absolute))
        lines.append(f"# On another machine, change these paths first: {named}.")
    return "".join(f"{line}\n" for line in lines)


def _is_outside(name: str, folder: Path) -> bool:
    """Whether a name is of files that are neither beside nor below the recipe."""
    is_beside = all((folder / part).exists() and not Path(part).is_absolute() for part in name.split(":"))
    return bool(data_files(name)) and not is_beside
