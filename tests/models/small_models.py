"""How the files of `conf/model/` become small enough to be trained in a test."""

from dataclasses import dataclass

VOCAB, TOKENS, SIDE = 53, 12, 16


@dataclass(frozen=True)
class Small:
    """How a file becomes small: overrides, and the side of its images.

    `slow` ones differ from another in numbers.
    """

    overrides: tuple[str, ...] = ()
    side: int = SIDE
    slow: bool = False


def small(*overrides, side=SIDE, slow=False):
    return Small(overrides, side, slow)


CAT = (
    "params.dim=16",
    "params.depths=[1,1]",
    "params.heads=[2,4]",
    "params.patch=2",
    "params.window=4",
)
SWIN = (
    "params.dim=16",
    "params.depths=[2,2]",
    "params.heads=[2,4]",
    "params.patch=2",
    "params.window=4",
)
ONE_VOCABULARY = (
    "params.dim=32",
    "params.depth=2",
    "params.heads=4",
    f"params.vocab={VOCAB}",
    f"params.length={TOKENS}",
)
SEGFORMER = (
    "params.dims=[8,16,24,32]",
    "params.heads=[1,2,3,4]",
    "params.width=16",
    "params.kernel=3",
    "params.stride=1",
)
SEQUENCE = ("params.dim=16", "params.hidden=32")
DECODER = (*ONE_VOCABULARY, "params.kv_heads=2", "params.hidden=64")
EXPERTS = ("params.experts=4", "params.top=2")
VIT = ("params.dim=32", "params.depth=2")
SMALL = {
    "albert_base": small(*ONE_VOCABULARY, "params.width=16", slow=True),
    "convnextv2_t": small(
        "params.widths=[16,32]", "params.depths=[1,2]", "graph.stem.features=16", slow=True
    ),
    "densenet121": small("params.growth=8", "params.depths=[1,2]", side=32, slow=True),
    "dinov3_s16": small(*VIT, "params.heads=2", side=32, slow=True),
    "dit_xl2": small(
        *VIT, "params.heads=2", "params.side=8", "params.labels=9", "params.waves=8", slow=True
    ),
    "efficientnet_b0": small(
        "params.widths=[8,16]",
        "params.depths=[1,2]",
        "params.kernels=[3,5]",
        "params.strides=[1,2]",
        "params.expansions=[1,6]",
        "params.stem=8",
        "params.top=32",
        side=32,
        slow=True,
    ),
    "mae_b16": small(
        *VIT,
        "params.decoder_dim=32",
        "params.decoder_depth=1",
        "params.decoder_heads=2",
        side=64,
        slow=True,
    ),
    "t5_small": small(*ONE_VOCABULARY, "params.hidden=64", slow=True),
    "whisper_tiny": small(*ONE_VOCABULARY, "params.bands=8", "params.frames=24", slow=True),
    "alexnet": small(
        "graph.stem.features=16",
        "graph.conv2.features=16",
        "graph.convs.repeat.maps=[16,16,16]",
        "graph.average.size=2",
        "graph.hidden.body.linear.features=64",
        side=64,
    ),
    "bert": small("params.dim=32", "params.depth=2"),
    "bert_base": small(*ONE_VOCABULARY),
    "cat": small("params.dim=16", side=8),
    "cat_b": small(*CAT, slow=True),
    "cat_s": small(*CAT, slow=True),
    "cat_t": small(*CAT, slow=True),
    "clip_small": small("params.dim=16", "params.depth=1", "params.projection=8"),
    "clip_b32": small(
        *VIT,
        "params.heads=2",
        "params.patch=4",
        "params.side=16",
        "params.text_dim=16",
        "params.text_depth=1",
        "params.text_heads=2",
        f"params.vocab={VOCAB}",
        f"params.length={TOKENS}",
        "params.projection=8",
        slow=True,
    ),
    "cnn": small("params.width=8"),
    "convnext_t": small("params.widths=[16,32]", "params.depths=[1,2]", "graph.stem.features=16"),
    "detr_r50": small(
        "params.width=8",
        "params.depths=[1,1]",
        "params.dim=16",
        "params.depth=1",
        "params.heads=2",
        "params.hidden=32",
        "params.queries=5",
        side=32,
        slow=True,
    ),
    "dory_4b": small(
        f"params.vocab={VOCAB}",
        f"params.length={TOKENS}",
        "params.dim=32",
        "params.hidden=48",
        "params.heads=2",
        "params.kv_heads=1",
        "params.head_dim=16",
        "params.before=2",
        "params.looped=1",
        "params.ending=1",
        "params.window=3",
        slow=True,
    ),
    "deepseek_v3": small(
        *ONE_VOCABULARY,
        *EXPERTS,
        "params.dense=1",
        "params.hidden=64",
        "params.expert_hidden=16",
        "attention.q_rank=16",
        "attention.kv_rank=8",
        "attention.head_dim=8",
        "attention.content_dim=8",
        "attention.value_dim=8",
        "params.groups=2",
        "params.top_groups=1",
    ),
    "ft_transformer": small("params.dim=32", "params.depth=2", "params.heads=4"),
    "gpt": small("params.dim=32", "params.depth=2"),
    "gpt2": small(*ONE_VOCABULARY, slow=True),
    "gemma2_2b": small(*DECODER, "params.window=3", "attention.head_dim=16"),
    "gpt_oss_20b": small(*DECODER, *EXPERTS, "params.window=3", "attention.head_dim=16"),
    "gru": small(*SEQUENCE),
    "gru_language": small(*SEQUENCE, slow=True),
    "llama": small("params.dim=32", "params.depth=2", "params.heads=4"),
    "llama32_1b": small(*DECODER, slow=True),
    "llama_7b": small(*DECODER, slow=True),
    "lstm": small(*SEQUENCE),
    "lstm_2x512": small("graph.lstm.hidden=32", f"inputs.x.tokens={TOKENS}", "inputs.x.dim=16"),
    "lstm_language": small(*SEQUENCE),
    "mae": small(*VIT, "params.decoder_dim=32", side=8),
    "maxvit_t": small(
        "params.stem=8",
        "params.widths=[16,32]",
        "params.depths=[1,1]",
        "params.window=2",
        side=32,
        slow=True,
    ),
    "mixtral_8x7b": small(*DECODER, *EXPERTS, slow=True),
    "mixer_b16": small(*VIT, "params.token_hidden=16", "params.channel_hidden=64", side=32),
    "mlp": small("params.hidden=32"),
    "mamba2_130m": small(*ONE_VOCABULARY, "params.state=8", slow=True),
    "mamba_130m": small(*(each for each in ONE_VOCABULARY if "heads" not in each), slow=True),
    "perceiver_io": small(
        "params.dim=64",
        "params.latents=16",
        "params.latent_dim=96",
        "params.depth=1",
        "params.heads=4",
        "params.head_dim=16",
        f"params.vocab={VOCAB}",
        f"params.length={TOKENS}",
        slow=True,
    ),
    "qwen3_600m": small(*DECODER, "attention.head_dim=16", slow=True),
    "resnet18": small("params.width=8", "params.depths=[1,1]", side=32, slow=True),
    "resnet50": small("params.width=8", "params.depths=[1,1]", side=32),
    "rnn": small(*SEQUENCE),
    "rnn_language": small(*SEQUENCE, slow=True),
    "segformer": small(*SEGFORMER, "params.depths=[1,1,1,1]"),
    "segformer_b0": small(*SEGFORMER, "params.depths=[1,1,1,1]", slow=True),
    "seq2seq": small(*SEQUENCE),
    "simclr": small("params.width=16", "params.projection_hidden=64", "params.projection=16"),
    "swin": small("params.dim=16", side=8),
    "table_mlp": small("params.dim=32"),
    "swin_b": small(*SWIN, slow=True),
    "swin_s": small(*SWIN, slow=True),
    "swin_t": small(*SWIN, slow=True),
    "swinv2_t": small(*SWIN),
    "transformer": small("params.dim=32", "params.depth=1", "params.hidden=64"),
    "transformer_base": small(*ONE_VOCABULARY, "params.depth=1", "params.hidden=64"),
    "transformer_big": small(*ONE_VOCABULARY, "params.depth=1", "params.hidden=64", slow=True),
    "transformer_deepnorm": small(*ONE_VOCABULARY, "params.depth=1", "params.hidden=64"),
    "unet": small("params.width=8"),
    "vae": small("params.hidden=32", side=8),
    "vgg16": small(
        "params.widths=[8,16]",
        "params.depths=[1,2]",
        "graph.hidden.body.linear.features=64",
        "graph.average.size=2",
        side=32,
    ),
    "vit": small(*VIT),
    "vit_b16": small(*VIT, side=32, slow=True),
    "vit_l16": small(*VIT, side=32, slow=True),
    "vit_segment": small(*VIT, "params.patch=2", side=8),
    "vit_s16": small(*VIT, side=32, slow=True),
    "vit_ti16": small(*VIT, side=32, slow=True),
    "vivit": small(*VIT, slow=True),
}
