"""Find the folders of images and of masks, of each part."""

from pathlib import Path

from tasks.data.images.listing.files import FOLDERS, is_image, must_be_folder
from tasks.data.split import PARTS
from tasks.data.walk import escape_name, list_first, visible_children
from tasks.errors import ArgumentError

Pair = tuple[Path, Path]  # of an image, or of images, and its mask

EXAMPLE = "FOLDER/images/1.jpg with FOLDER/masks/1.png"
WORDS = ("images", "masks")  # the options that name both kinds of folders


def find_places(root: Path, images: str, masks: str, left_out: list[str]) -> dict[str, Pair]:
    """Return the two folders of each part; all is "train" where there are no parts.

    A part is FOLDER/PART/IMAGES and FOLDER/PART/MASKS, or FOLDER/IMAGES/PART and FOLDER/MASKS/PART,
    in letters of either case.

    Args:
        root: the folder of all.
        images: the name of the folders of images.
        masks: of the folders of masks.
        left_out: gets what lies beside the parts.

    Raises:
        ArgumentError: one of the folders does not exist, or a part is there twice.
    """
    must_be_folder(root, EXAMPLE)
    names = (images, masks)
    outer = {part: (place / images, place / masks) for part, place in list_parts(root).items()}
    places = {part: pair for part, pair in outer.items() if pair[0].is_dir() or pair[1].is_dir()}
    holders = [root / name for name in names if (root / name).is_dir() and Path(name) != Path()]
    inner = [list_parts(holder) for holder in holders]
    for part in PARTS:
        if not any(part in found for found in inner):
            continue
        pair = (choose(root / images, part), choose(root / masks, part))
        if part in places:
            got = f"{list_names(root, places[part])}; {list_names(root, pair)}"
            raise lies_twice(root, part, got)
        places[part] = pair
    if not places:
        places = {"train": (root / images, root / masks)}
    elif "train" not in places:
        raise lacks_training(root, places)
    for part in filter(places.__contains__, PARTS):
        check_places(root, part, places[part])
    used = {place for pair in places.values() for place in pair}
    known = ", ".join(filter(places.__contains__, PARTS))
    for beside in list_beside(root, holders, used):
        left_out.append(f"{escape_name(beside.relative_to(root))} (beside {known})")
    return {part: places[part] for part in PARTS if part in places}


def list_parts(folder: Path) -> dict[str, Path]:
    """Return the folders in a folder that have the name of a part.

    Raises:
        ArgumentError: two folders are the same part.
    """
    found: dict[str, Path] = {}
    for child in visible_children(folder):
        for part, names in FOLDERS.items():
            if child.name.lower() not in names or not child.is_dir():
                continue
            if part in found:
                got = f"{escape_name(found[part].name)} and {escape_name(child.name)}"
                raise lies_twice(folder, part, got)
            found[part] = child
    return found


def choose(holder: Path, part: str) -> Path:
    """Return the folder of a part in that of all images or masks; where it is missing, its path."""
    if not holder.is_dir():
        return holder / part
    return list_parts(holder).get(part, holder / part)


def check_places(root: Path, part: str, pair: Pair) -> None:
    """Raise an ArgumentError where one of the two folders of a part is missing."""
    for option, folder, other in zip(WORDS, pair, reversed(pair), strict=True):
        if folder.is_dir():
            continue
        beside = folder.parent
        if not beside.is_dir():
            beside = root
        found = [path.name for path in visible_children(beside) if path.is_dir()]
        held = "no folder"
        if found:
            held = f"the folders {list_first(found)}"
        place, counterpart = list_names(root, (folder,)), list_names(root, (other,))
        fix = f"put the {option} into {place}"
        free = [name for name in found if beside / name != other]
        if other.is_dir() and folder.name != part and len(free) == 1:
            fix = f"data.{option}={free[0]}, if it holds the {option}"
        elif other.is_dir() and folder.parent != root:
            fix += f", or move {counterpart} out of the folder"
        raise ArgumentError(
            option,
            f"{folder} is no folder",
            got=f"{beside} holds {held}",
            fits=f"{root.name}/images and {root.name}/masks, with train, val and test above or "
            "below them or without",
            fix=fix,
        )


def lies_twice(folder: Path, part: str, got: str) -> ArgumentError:
    """Return an error for a part that has two folders."""
    return ArgumentError(
        "path",
        f"{folder} has the part {part} twice",
        got=got,
        fits="one folder of images and one of masks for each part",
        fix="merge them, or move one of them out of the folder",
    )


def lacks_training(root: Path, places: dict[str, Pair]) -> ArgumentError:
    """Return an error where there are parts, but none for training."""
    known = [list_names(root, pair) for pair in places.values()]
    return ArgumentError(
        "path",
        f"{root} has no part for training",
        got="; ".join(known),
        fits=f"a folder {FOLDERS['train'][0]} beside {', '.join(places)}",
        fix="name the folders of the training train, or give all folders other names than "
        "train, val and test",
    )


def list_beside(root: Path, holders: list[Path], used: set[Path]) -> list[Path]:
    """Return folders and images that lie where parts do and belong to none.

    Args:
        root: the folder of all.
        holders: the folders of all images and of all masks, as far as they exist.
        used: the folders of the parts.
    """
    reached = used.union(*(place.parents for place in used))
    suspects = [*list_parts(root).values(), *holders]
    for holder in filter(reached.__contains__, holders):
        if holder not in used:
            suspects += visible_children(holder)
    beside = [path for path in suspects if path not in reached]
    return [path for path in beside if path.is_dir() or is_image(path)]


def list_names(root: Path, paths: tuple[Path, ...]) -> str:
    """List paths relative to the folder of all, its name before them."""
    return ", ".join(escape_name(Path(root.name) / path.relative_to(root)) for path in paths)
