"""Build the site of the course, the documents and the gallery: static files that open from a disk.

python docs/course/site/build.py [-o FOLDER]       needs the extra `site`
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).resolve().parent
COURSE = HERE.parent
DOCS = COURSE.parent
ROOT = DOCS.parent
ASSETS = ("widgets.js", "course.css", "iframe-worker.js")
BESIDE = ("CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "CODE_OF_CONDUCT.md")
NAMES = {
    "en": ("Course", "Gallery of models", "Grammar", "Catalogue", "Results", "More", "Plan"),
    "zh": ("课程", "模型图库", "语法", "模块目录", "实验结果", "更多文档", "目录"),
}
SEARCHED = {  # the gallery whose graphs fold, beside the pages of the documents
    "en": "All models: search, fold and unfold",
    "zh": "全部模型:搜索、展开与折叠",
}
CHINESE_LINES = re.compile(r"(?<=[\u3001-\u9fff\uff01-\uff5e])\n(?=[\u4e00-\u9fff*`A-Za-z])")
LINK = re.compile(r"(?P<open>\]\()(?P<path>[^)#:\s]+)(?P<part>#[^)\s]*)?\)")


def collect(folder: Path) -> None:
    """Copy every page and picture to a folder as it is laid out in the repository."""
    for path in sorted(DOCS.rglob("*")):
        if path.suffix in (".md", ".svg", ".png"):
            copy(path, folder / path.relative_to(ROOT))
    for name in BESIDE:
        copy(ROOT / name, folder / name)
    copy(ROOT / "README.md", folder / "README_en.md")
    copy(ROOT / "README.zh-CN.md", folder / "README_zh.md")
    for page in folder.rglob("*.md"):
        text = page.read_text(encoding="utf-8")
        if page.parent.name == "zh" or "zh" in page.stem:  # a line break would be shown as a blank
            text = CHINESE_LINES.sub("", text)
        page.write_text(mend_links(text, page, folder), encoding="utf-8")
    for name in ASSETS:
        copy(HERE / name, folder / "assets" / name)
    numbers = {
        file.stem: json.loads(file.read_text(encoding="utf-8"))
        for file in sorted((COURSE / "widgets").glob("*.json"))
    }
    data = f"window.COURSE = {json.dumps(numbers, separators=(',', ':'))};\n"
    (folder / "assets" / "numbers.js").write_text(data, encoding="utf-8")


def copy(source: Path, target: Path) -> None:
    """Copy a file and make its folder."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


def mend_links(text: str, page: Path, folder: Path) -> str:
    """Return a page without links to files that the site does not have, e.g. of source."""
    renamed = {
        folder / "README.md": folder / "README_en.md",
        folder / "README.zh-CN.md": folder / "README_zh.md",
    }

    def mend(found: re.Match[str]) -> str:
        target = (page.parent / found["path"]).resolve()
        up = "../" * len(page.relative_to(folder).parent.parts)
        if target in renamed:
            return f"]({up}{renamed[target].name}{found['part'] or ''})"
        if target.exists():
            return found[0]
        return f"]({up}index.md)"

    return LINK.sub(mend, text)


def list_pages(language: str) -> list[Any]:
    """Return the navigation in one language."""
    course, gallery, grammar, catalogue, results, more, plan = NAMES[language]
    lessons: list[Any] = [{plan: f"docs/course/README{'.zh' * (language == 'zh')}.md"}]
    for file in sorted((COURSE / language).glob("[0-9]*.md")):
        title = file.read_text(encoding="utf-8").partition("\n")[0].strip("# ").replace("`", "")
        lessons.append({title: f"docs/course/{language}/{file.name}"})
    models: list[Any] = [{SEARCHED[language]: "gallery/index.html"}, "docs/models/README.md"]
    models += [f"docs/models/{file.name}" for file in sorted((DOCS / "models").glob("[!R]*.md"))]
    shown = ("grammar", "catalog", "results")
    rest = [f"docs/{file.name}" for file in sorted(DOCS.glob("*.md")) if file.stem not in shown]
    return [
        {"Dougong": "index.md"},
        {course: lessons},
        {gallery: models},
        {grammar: "docs/grammar.md"},
        {catalogue: "docs/catalog.md"},
        {results: "docs/results.md"},
        {more: [*rest, *BESIDE]},
    ]


def describe_palette(preferred: str, scheme: str, icon: str, other: str) -> dict[str, Any]:
    """Return the colours for readers who prefer light or dark, and the switch to the other."""
    return {
        "media": f"(prefers-color-scheme: {preferred})",
        "scheme": scheme,
        "primary": "indigo",
        "accent": "indigo",
        "toggle": {"icon": f"material/{icon}", "name": other},
    }


def configure(language: str, pages: Path, target: Path) -> dict[str, Any]:
    """Return the configuration of MkDocs in one language."""
    other = {"en": ("index.html", "zh/index.html"), "zh": ("../index.html", "index.html")}
    english, chinese = other[language]
    to_dark, to_light = {"en": ("dark", "light"), "zh": ("深色", "浅色")}[language]
    return {
        "site_name": "Dougong 斗拱",
        "docs_dir": str(pages),
        "site_dir": str(target),
        "nav": list_pages(language),
        "theme": {
            "name": "material",
            "language": language,
            "font": False,
            "palette": [
                describe_palette("light", "default", "weather-night", to_dark),
                describe_palette("dark", "slate", "weather-sunny", to_light),
            ],
            "features": [
                "navigation.tabs",
                "navigation.footer",
                "navigation.top",
                "navigation.prune",
                "search.highlight",
                "content.code.copy",
            ],
        },
        "extra": {
            "generator": False,
            "polyfills": ["assets/iframe-worker.js"],
            "alternate": [
                {"name": "English", "link": english, "lang": "en"},
                {"name": "中文", "link": chinese, "lang": "zh"},
            ],
        },
        "extra_css": ["assets/course.css"],
        "extra_javascript": ["assets/numbers.js", "assets/widgets.js"],
        "plugins": [
            {"search": {"lang": [language, "en"] if language == "zh" else "en"}},
            "offline",
        ],
        "markdown_extensions": [
            "md_in_html",
            "tables",
            "toc",
            "pymdownx.superfences",
            {"pymdownx.highlight": {"pygments_lang_class": True}},
        ],
        "validation": {
            "links": {"not_found": "warn", "anchors": "info", "unrecognized_links": "info"}
        },
    }


def build(target: Path) -> int:
    """Build both languages and return the exit status of the first that fails, or 0."""
    with tempfile.TemporaryDirectory() as work:
        gallery = Path(work) / "gallery"
        words = [sys.executable, "-m", "blocks", "draw", "--all", str(gallery)]
        status = subprocess.run(words, cwd=ROOT, stdout=subprocess.DEVNULL).returncode
        return status or build_pages(target, gallery)


def build_pages(target: Path, gallery: Path) -> int:
    """Build both languages around the gallery."""
    for language, folder in (("en", target), ("zh", target / "zh")):
        with tempfile.TemporaryDirectory() as work:
            pages = Path(work) / "pages"
            collect(pages)
            shutil.copytree(gallery, pages / "gallery")
            copy(pages / f"README_{language}.md", pages / "index.md")
            file = Path(work) / "mkdocs.yml"
            chosen = configure(language, pages, folder.resolve())
            file.write_text(yaml.safe_dump(chosen, allow_unicode=True), encoding="utf-8")
            words = [
                sys.executable,
                "-m",
                "mkdocs",
                "build",
                "--quiet",
                "--strict",
                "-f",
                str(file),
            ]
            quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
            status = subprocess.run(words, env=quiet).returncode
            if status:
                return status
    print(f"site {target / 'index.html'}")
    return 0


def main() -> int:
    """Build the site into a folder."""
    parser = argparse.ArgumentParser(description="Build the site of the course.")
    parser.add_argument("-o", "--output", type=Path, default=ROOT / "site", metavar="FOLDER")
    return build(parser.parse_args().output)


if __name__ == "__main__":
    sys.exit(main())
