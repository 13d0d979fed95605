"""The models of `conf/model/` as parameters of a test; larger members of a family are slow."""

import pytest

from blocks.graph import conf_folder

LARGER = (
    *("cat_s", "cat_b", "swin_s", "swin_b", "vit_b16", "vit_l16", "mae_b16", "segformer_b0"),
    *("bert_base", "transformer_base", "transformer_big", "transformer_deepnorm", "lstm_2x512"),
    *("llama_7b", "qwen3_600m", "gemma2_2b", "mixtral_8x7b", "dory_4b", "mamba2_130m"),
)
FAMILIES = [
    pytest.param(file.stem, marks=[pytest.mark.slow] * (file.stem in LARGER))
    for file in sorted((conf_folder() / "model").glob("*.yaml"))
]
