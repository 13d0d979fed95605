"""A text in a fold: unfolded, it comes into view and has the focus."""

from nicegui import ui


def add_fold(name: str, style: str = "") -> tuple[ui.expansion, ui.label]:
    """Add a fold with a text of fixed width, which the keyboard scrolls.

    Args:
        name: its heading.
        style: further classes of the text.

    Returns:
        The fold, and the label of its text.
    """
    fold = ui.expansion(name).classes("studio-why").props(f'toggle-aria-label="{name}"')
    fold.on("after-show", js_handler=f"() => studio.bring({fold.id})")
    with fold, ui.element("pre").classes(f"studio-code {style}") as code:
        code.props(f'tabindex=0 role=group aria-label="{name}"')
        label = ui.label("")
    return fold, label
