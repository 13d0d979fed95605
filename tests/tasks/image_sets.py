"""Small sets of images whose colour says their class, as files of several kinds."""

import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = {"blue": (0, 0, 200), "green": (0, 200, 0), "red": (200, 0, 0)}
CLASSES = tuple(COLOURS)


def encode_image(label: str, number: int) -> bytes:
    """Return a PNG file of noise in a colour."""
    pixels = np.random.default_rng(number).integers(0, 55, (9, 11, 3)) + COLOURS[label]
    content = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(content, "PNG")
    return content.getvalue()


def draw_images(count: int, first: int = 0) -> Iterator[tuple[bytes, str]]:
    """Yield images and the names of their classes, sorted by class."""
    for number in range(count):
        label = CLASSES[number * len(CLASSES) // count]
        yield encode_image(label, first + number), label


def write_files(folder: Path) -> None:
    """Write a file of each class, called by it, to predict."""
    folder.mkdir(parents=True)
    for number, label in enumerate(CLASSES):
        (folder / f"{label}.png").write_bytes(encode_image(label, 1000 + number))


def write_parquet(folder: Path) -> None:
    """Write Parquet files with a training and a test part, and files to predict."""
    import datasets
    from pyarrow import parquet

    write_files(folder / "files")
    feature = datasets.ClassLabel(names=list(CLASSES))
    features = datasets.Features({"img": datasets.Image(), "colour": feature})
    for part, count, first in (("train", 91, 0), ("test", 23, 100)):
        contents, labels = zip(*draw_images(count, first), strict=True)
        cells = [{"bytes": content, "path": None} for content in contents]
        columns = {"img": cells, "colour": labels}
        rows = datasets.Dataset.from_dict(columns, features=features)
        table = rows.with_format("arrow")[:]
        table = table.replace_schema_metadata(features.arrow_schema.metadata)
        parquet.write_table(table, folder / f"{part}.parquet", row_group_size=13)


def write_shard(file: Path, samples: list[dict[str, bytes]], first: int = 0) -> None:
    """Write samples, each as its files by their endings."""
    with tarfile.open(file, "w") as archive:
        for number, sample in enumerate(samples, first):
            for ending, content in sample.items():
                member = tarfile.TarInfo(f"{number:04}.{ending}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def write_shards(folder: Path) -> None:
    """Write shards of a training and a test part, and files to predict."""
    write_files(folder / "files")
    for part, count, first, shards in (("train", 91, 0, 4), ("test", 23, 100, 2)):
        samples = []
        for content, label in draw_images(count, first):
            record = json.dumps({"label": label, "source": "noise"})
            samples.append({"png": content, "json": record.encode()})
        size = -(-count // shards)
        for number in range(shards):
            own = samples[number * size : (number + 1) * size]
            write_shard(folder / f"{part}-{number:03}.tar", own, number * size)
