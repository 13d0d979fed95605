"""The colours of every page and picture, in light and in dark mode."""

NAMES = ("paper", "ink", "soft", "rule", "shade", "focus", "note", "line", "skip", "chip")
CHANGES = ("added", "removed", "replaced", "moved", "changed")
LIGHT = "#FFFFFF #1B2230 #5A6475 #D9DEE6 #F6F8FA #0B63CE #FFF4E5 #8791A1 #3F6FB5 #E8ECF2"
DARK = "#12161D #E8ECF3 #A1ABBB #2C3441 #1A2029 #7FB0F5 #33270F #6B7686 #7FB0F5 #2A313D"
LIGHT_CHANGES = "#1A7F37 #CF222E #8250DF #0969DA #9A6700"
DARK_CHANGES = "#3FB950 #F85149 #BC8CFF #58A6FF #D29922"
THEMES = {
    "light": dict(zip(NAMES + CHANGES, f"{LIGHT} {LIGHT_CHANGES}".split(), strict=True)),
    "dark": dict(zip(NAMES + CHANGES, f"{DARK} {DARK_CHANGES}".split(), strict=True)),
}


def variables(theme: str) -> str:
    """The colours of a theme as variables of CSS."""
    return " ".join(f"--{name}: {colour};" for name, colour in THEMES[theme].items())


STYLE = f"""
:root {{ color-scheme: light dark; {variables("light")} }}
@media (prefers-color-scheme: dark) {{
  :root:not([data-theme="light"]) {{ {variables("dark")} }}
}}
:root[data-theme="light"] {{ color-scheme: light; }}
:root[data-theme="dark"] {{ color-scheme: dark; {variables("dark")} }}
* {{ box-sizing: border-box; }}
"""
