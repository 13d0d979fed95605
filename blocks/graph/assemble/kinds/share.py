"""`share: NODE`: the module of another node again, weights and all."""

from blocks.graph.assemble.assembly import Assembly
from blocks.graph.assemble.body_builder import BodyBuilder
from blocks.graph.assemble.calls import call_again, record_node
from blocks.graph.assemble.context import NodeContext, Outputs
from blocks.graph.errors import NodeError, Problem, did_you_mean
from blocks.graph.language.words import USE_KEYS


def build_shared(assembly: Assembly, context: NodeContext) -> Outputs:
    """Call the module of the node that `share` names."""
    reference = context.raw["share"]
    extra = [word for word in context.raw if word != "share" and word not in USE_KEYS]
    if extra:
        fix = f"give it where {reference!r} is defined"
        raise NodeError(
            Problem(
                f"a shared node takes no argument {extra[0]!r}", fix=fix, code="unknown-argument"
            )
        )
    path = locate_shared(assembly, context.builder, reference)
    if path not in assembly.modules:
        raise NodeError(
            Problem(
                f"no node {reference!r} to share, before this one",
                got=f"share: {reference}",
                fits=did_you_mean(reference, assembly.modules),
                code="unknown-name",
            )
        )
    module, outputs = assembly.modules[path]
    target, own = reference, None
    is_sibling = path == context.builder.below(reference) and "." not in reference
    if not is_sibling:
        target, own = context.name, module
        context.builder.root.add_module(target, module)
    node = record_node(assembly, context, f"share: {reference}", {}, [], own)
    node.outputs = call_again(context, node, target, module, outputs)
    return node.outputs


def locate_shared(assembly: Assembly, builder: BodyBuilder, reference: str) -> str:
    """The path of the module that `share: reference` means in a body."""
    near = builder.below(reference)
    if near in assembly.modules:
        return near
    return reference
