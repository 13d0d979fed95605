"""Print what makes a shell complete `dougong`: `eval "$(dougong completion bash)"`."""

import argparse

SHELLS = ("bash", "zsh", "fish", "powershell")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("shell", choices=SHELLS)


def run(arguments: argparse.Namespace) -> int:
    """Print the code that the shell evaluates."""
    from argcomplete import shellcode

    print(shellcode(["dougong"], shell=arguments.shell))
    return 0
