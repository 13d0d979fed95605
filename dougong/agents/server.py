"""Speaks the Model Context Protocol on standard input and output."""

import json
from pathlib import Path
from typing import Any

import anyio
import mcp_types as types
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from pydantic import ValidationError

from blocks.support.answers import error_entry
from dougong.agents.inputs import TOOLS, Input, Train
from dougong.agents.questions import MISTAKE, Answer, Questions, failed
from dougong.agents.training import Training

INSTRUCTIONS = (
    "Dougong composes neural networks in YAML. A model is a file that overrides change; no Python "
    "is written. Usual order: list and show, then explain, diff or check with your overrides, "
    "then train with a budget of seconds, then result. Every error names its place, what was "
    "given, what fits and how to fix it; `code` is stable."
)
SECONDS = 60.0  # within which a question is answered


class Tools:
    """The tools for one project.

    Args:
        folder: the project.
        most_seconds: that a training may take.
    """

    def __init__(self, folder: Path, most_seconds: float):
        self.folder, self.most_seconds = folder, most_seconds
        self.questions = Questions(folder, SECONDS)
        self.is_training = False

    async def call(self, name: str, arguments: dict[str, Any]) -> tuple[Answer, str]:
        """Return the answer of a tool, and its notes."""
        try:
            wish = TOOLS[name].model_validate(arguments)
        except KeyError:
            return failed(f"no tool {name[:50]!r}", code="bad-command", fits=", ".join(TOOLS)), ""
        except ValidationError as error:
            return describe_mistakes(name, error), ""
        if isinstance(wish, Train):
            return await self.train(wish), ""
        return await self.questions.ask(wish.words(), wish.given_overrides())

    async def train(self, wish: Train) -> Answer:
        """Train, and return the result."""
        if wish.seconds > self.most_seconds:
            return failed(
                "the time is longer than this server allows",
                code="bad-value",
                where="train",
                path="seconds",
                got=f"{wish.seconds:g}",
                fits=f"{self.most_seconds:g} at most",
                fix="its user may start it with a larger --max-seconds",
            )
        if self.is_training:
            problem, fix = "another training runs", "wait until it has ended"
            return failed(problem, code="bad-command", where="train", fix=fix)
        self.is_training = True
        try:
            training = Training(self.folder, wish.words())
            await training.train(wish.seconds)
        finally:
            self.is_training = False
        if training.run is None:
            return training.find_error()
        answer, _ = await self.questions.ask(["result", training.run, "--json"], [])
        if "errors" in answer:  # a mistake was found after the folder had been made
            return training.find_error()
        return {**answer, "stopped": training.is_stopped}


def describe_mistakes(name: str, error: ValidationError) -> Answer:
    """Return the answer for arguments that do not fit the schema of a tool."""
    entries = []
    for mistake in error.errors(include_url=False)[:20]:
        path = ".".join(map(str, mistake["loc"]))
        got = repr(mistake["input"])[:90]
        entries.append(
            error_entry(mistake["msg"], code="bad-command", where=name, path=path, got=got)
        )
    return {"errors": entries, "status": MISTAKE}


def describe_tool(tool: type[Input]) -> types.Tool:
    """Return what a client is told of a tool."""
    return types.Tool(
        name=tool.command,
        description=" ".join((tool.__doc__ or "").split()),
        input_schema=tool.model_json_schema(),
        annotations=types.ToolAnnotations(
            read_only_hint=tool.changes_nothing, destructive_hint=False, open_world_hint=False
        ),
    )


def make_server(tools: Tools) -> Server[Any]:
    """Return a server that offers the tools."""

    async def list_tools(context: Any, _: Any) -> types.ListToolsResult:
        return types.ListToolsResult(tools=list(map(describe_tool, TOOLS.values())))

    async def call_tool(context: Any, call: types.CallToolRequestParams) -> types.CallToolResult:
        answer, notes = await tools.call(call.name, call.arguments or {})
        content: list[types.ContentBlock] = [
            types.TextContent(type="text", text=json.dumps(answer, ensure_ascii=False))
        ]
        if notes.strip():
            content.append(types.TextContent(type="text", text=notes.strip()))
        return types.CallToolResult(
            content=content, structured_content=answer, is_error=bool(answer.get("errors"))
        )

    return Server(
        "dougong", instructions=INSTRUCTIONS, on_list_tools=list_tools, on_call_tool=call_tool
    )


async def serve(folder: Path, most_seconds: float) -> None:
    """Serve one client until it closes standard input."""
    tools = Tools(folder, most_seconds)
    server = make_server(tools)
    try:
        async with stdio_server() as (incoming, outgoing):
            await server.run(incoming, outgoing, server.create_initialization_options())
    finally:
        await tools.questions.stop()


def run(folder: Path, most_seconds: float) -> None:
    """Serve, as a process of its own."""
    anyio.run(serve, folder, most_seconds)
