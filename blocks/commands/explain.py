"""One row a node: block, output shape, parameters, multiply-adds for one sample."""

import argparse
import json
from dataclasses import replace

from blocks.commands import (
    Planner,
    add_entry,
    add_no_server,
    choose_part,
    levels,
    plan_composed_loss,
)
from blocks.graph import Built, Composed, ConfigError, compose, plan
from blocks.graph.describe.answers.cache import describe_cache, measure_cache, show_cache
from blocks.graph.describe.answers.ceiling import Ceiling, find_ceiling
from blocks.graph.describe.answers.letters import Letters, find_letters
from blocks.graph.describe.answers.scale import (
    STRATEGIES,
    Speed,
    describe_scale,
    name_strategy,
    place_all,
    show_scale,
)
from blocks.graph.describe.answers.step_time import (
    count_steps,
    describe_time,
    estimate_step,
    show_time,
)
from blocks.graph.describe.cost import measure
from blocks.graph.describe.memory_budget import Setting, budget, text
from blocks.graph.describe.table import (
    comma_separated,
    describe,
    describe_objective,
    table,
    table_objective,
)
from blocks.graph.describe.why import why
from blocks.graph.errors import Problem
from blocks.graph.record.record import count_parameters

QUESTIONS = ("memory", "cache", "time", "devices", "why")
TABLE_ALONE = {"csv": QUESTIONS, "depth": (*QUESTIONS, "csv"), "all": QUESTIONS}


def arguments(parser: argparse.ArgumentParser) -> None:
    """The words of the command line."""
    parser.add_argument(
        "overrides", nargs="*", help="as for train.py: model=vit model.params.depth=6"
    )
    parser.add_argument("--depth", type=levels, metavar="N", help="show N levels of nested nodes")
    parser.add_argument(
        "--all",
        action="store_true",
        help="more columns: share, memory for training, field, input, YAML",
    )
    questions = parser.add_mutually_exclusive_group()
    questions.add_argument(
        "--memory", action="store_true", help="what a training takes of the memory of each device"
    )
    questions.add_argument(
        "--cache", action="store_true", help="what decoding keeps of past tokens, in numbers"
    )
    questions.add_argument(
        "--time", action="store_true", help="how long a training step takes on this CPU, about"
    )
    questions.add_argument(
        "--devices",
        type=device_counts,
        metavar="N,N",
        help="memory and messages of each device in a training on so many: 1,8,64,1024",
    )
    parser.add_argument(
        "--strategy",
        type=strategies,
        metavar="NAME,NAME",
        help=f"with --devices: {', '.join(STRATEGIES)}; the default is that of the trainer",
    )
    parser.add_argument(
        "--speed",
        type=speed,
        metavar="T,G,L",
        help="with --devices: TFLOP/s of products and GB/s of memory of a device, GB/s of its link "
        "to others: 400,2000,50 adds the time of a step",
    )
    parser.add_argument(
        "--samples", type=samples, metavar="N", help="with --time: of N samples, the whole training"
    )
    parser.add_argument(
        "--measure", action="store_true", help="with --time: measure this machine again"
    )
    questions.add_argument(
        "--why", metavar="PATH", help="where one value comes from: layers.0.attention.inner.heads"
    )
    questions.add_argument(
        "--symbolic",
        action="store_true",
        help="letters for the sizes of the inputs: (batch, height*width/256 + 1, 768)",
    )
    forms = parser.add_mutually_exclusive_group()
    forms.add_argument(
        "--json", action="store_true", help="print an object with parameters, outputs, nodes"
    )
    forms.add_argument("--csv", action="store_true", help="print one line a node, nothing folded")
    add_entry(parser)
    parser.add_argument(
        "--config-dir", metavar="DIR", help="a folder with YAML of your own (model/, data/, ...)"
    )
    add_no_server(parser)


def samples(text: str) -> int:
    """A number of samples: a word of the command line as a whole number above 0."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} is no number of samples; 1, 2, ...")
    return int(text)


def device_counts(text: str) -> list[int]:
    """Numbers of devices: a word of the command line as whole numbers above 0."""
    for word in text.split(","):
        if not word.isdecimal() or int(word) == 0:
            raise argparse.ArgumentTypeError(f"{word} is no number of devices; 1, 2, ...")
    return [int(word) for word in text.split(",")]


def strategies(text: str) -> list[str]:
    """Strategies of several devices: a word of the command line as names."""
    names = text.split(",")
    for name in names:
        if name not in STRATEGIES:
            raise argparse.ArgumentTypeError(f"{name} is no strategy; {', '.join(STRATEGIES)}")
    return names


def speed(text: str) -> Speed:
    """What a device can do: a word of the command line as three numbers above 0."""
    try:
        products, memory, link = (float(word) for word in text.split(","))
    except ValueError:
        products = memory = link = 0.0
    if min(products, memory, link) <= 0:
        problem = "needs three numbers above 0: TFLOP/s, GB/s of memory, GB/s of the link"
        raise argparse.ArgumentTypeError(f"{text} {problem}")
    return Speed(Ceiling(products * 1e12, products * 1e12, memory * 1e9), link * 1e9)


def _find_letters(chosen: argparse.Namespace, composed: Composed, planned: Built) -> Letters | None:
    if not chosen.symbolic:
        return None
    if chosen.csv:
        raise ConfigError(
            Problem(
                "--csv prints numbers alone",
                "the command line: --symbolic --csv",
                fits="--symbolic with the table or with --json",
                code="bad-override",
            )
        )
    return find_letters(composed, planned, plan)


def _check_entry(chosen: argparse.Namespace) -> None:
    """Raise ConfigError for a question about the whole model."""
    for option in ("memory", "cache", "time", "devices", "why", "symbolic"):
        if getattr(chosen, option):
            problem, got = f"--{option} is about the whole model", f"--entry {chosen.entry}"
            raise ConfigError(
                Problem(
                    problem, "the command line", got=got, fix="leave one out", code="bad-command"
                )
            )


def _check_forms(chosen: argparse.Namespace) -> None:
    """Raise ConfigError for an option of the table beside a question that prints none."""
    for form, questions in TABLE_ALONE.items():
        value = getattr(chosen, form)
        if value is None or value is False:  # 0 is a depth
            continue
        for question in questions:
            if getattr(chosen, question):
                raise ConfigError(
                    Problem(
                        f"--{form} belongs to the table of nodes",
                        f"the command line: --{question} --{form}",
                        fix=f"leave --{question} or --{form} out",
                        code="bad-command",
                    )
                )


def _check_options(chosen: argparse.Namespace) -> None:
    """Raise ConfigError for an option of a question without it."""
    questions = {"samples": "time", "measure": "time", "strategy": "devices", "speed": "devices"}
    for option, question in questions.items():
        if getattr(chosen, option) and not getattr(chosen, question):
            raise ConfigError(
                Problem(
                    f"--{option} belongs to --{question}",
                    f"the command line: --{option}",
                    fix=f"--{question} --{option}",
                    code="bad-command",
                )
            )


def _answer_memory(chosen: argparse.Namespace, composed: Composed, planned: Built) -> str:
    setting = Setting.of(composed.config)
    bytes_of = budget(planned, setting)
    if chosen.json:
        return json.dumps(bytes_of, indent=1)
    return text(bytes_of, setting, count_parameters(planned.model))


def _answer_cache(chosen: argparse.Namespace, planned: Built) -> str:
    found = measure_cache(planned)
    if chosen.json:
        return json.dumps(describe_cache(found), indent=1)
    return show_cache(found)


def _answer_time(chosen: argparse.Namespace, composed: Composed, planned: Built) -> str:
    trainer = composed.config.get("trainer") or {}
    setting = Setting.of({**composed.config, "trainer": {**trainer, "devices": 1}})
    ceiling = find_ceiling(chosen.measure)
    parameters = count_parameters(planned.model)
    time = estimate_step(measure(planned)[""], parameters, setting, ceiling)
    steps = None
    if chosen.samples is not None:
        steps = count_steps(chosen.samples, setting.batch, trainer)
    if chosen.json:
        return json.dumps(describe_time(time, steps), indent=1)
    return show_time(time, steps, ceiling)


def _answer_devices(chosen: argparse.Namespace, composed: Composed, planner: Planner) -> str:
    trainer = composed.config.get("trainer") or {}
    setting = Setting.of({**composed.config, "trainer": {**trainer, "devices": 1, "num_nodes": 1}})
    setting = replace(setting, shards=1, divided=1)
    size = trainer.get("tensor_parallel_size")
    if size == 1:  # the default of trainer=fsdp
        size = None
    named = chosen.strategy or [name_strategy(trainer)]
    found = place_all(lambda: planner(composed), setting, chosen.devices, named, size, chosen.speed)
    if chosen.json:
        return json.dumps(describe_scale(found, chosen.speed), indent=1)
    return show_scale(found, chosen.speed)


def _answer_why(chosen: argparse.Namespace, planned: Built) -> str:
    found = why(planned, chosen.why)
    if chosen.json:
        return json.dumps({"path": chosen.why, "why": found}, indent=1)
    return found


def _answer_table(chosen: argparse.Namespace, composed: Composed, planned: Built) -> str:
    letters = _find_letters(chosen, composed, planned)
    costs = measure(planned)
    objective = None
    if chosen.entry is None:
        objective = plan_composed_loss(composed, planned)
    if chosen.csv:
        return comma_separated(planned, costs)
    if chosen.json:
        described = describe(planned, costs, chosen.depth, letters)
        if objective is not None:
            described["objective"] = describe_objective(objective)
        return json.dumps(described, indent=1)
    lines = [table(planned, costs, chosen.depth, chosen.all, letters)]
    if letters is not None:
        lines.append(f"parameters and MACs for {letters.legend() or 'the only sizes there are'}")
    if objective is not None:
        lines.append(f"\n{table_objective(objective)}")
    return "\n".join(lines)


def run(chosen: argparse.Namespace) -> int:
    """Compose, build on the meta device, print; the exit status."""
    _check_forms(chosen)
    _check_options(chosen)
    composed = compose(chosen.overrides, config_dir=chosen.config_dir)
    planner = Planner()
    planned = planner(composed)
    if chosen.entry is not None:
        _check_entry(chosen)
        planned = choose_part(planned, chosen.entry)
    if chosen.why:
        print(_answer_why(chosen, planned))
    elif chosen.cache:
        print(_answer_cache(chosen, planned))
    elif chosen.time:
        print(_answer_time(chosen, composed, planned))
    elif chosen.devices:
        print(_answer_devices(chosen, composed, planner))
    elif chosen.memory:
        print(_answer_memory(chosen, composed, planned))
    else:
        print(_answer_table(chosen, composed, planned))
    return 0
