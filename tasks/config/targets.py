"""The names that may stand behind `_target_`, each only in its own section.

They are compared before anything is imported.
"""

from typing import Any

# A prefix would admit too much: `torch` has `torch.load` in it.
TARGETS: dict[str, tuple[str, ...]] = {
    "task": (
        "tasks.learn.classify.Classify",
        "tasks.learn.answer.Answer",
        "tasks.learn.tokens.Tokens",
        "tasks.learn.tokens.Language",
        "tasks.learn.translate.Translate",
        "tasks.learn.regress.Regress",
        "tasks.learn.segment.Segment",
        "tasks.learn.objective.Objective",
        "tasks.learn.selfsupervised.reconstruct.Reconstruct",
        "tasks.learn.selfsupervised.contrast.Contrast",
        "tasks.learn.selfsupervised.contrast_pairs.ContrastPairs",
    ),
    "data": (
        "tasks.data.images.digits.Digits",
        "tasks.data.images.image_folder.Images",
        "tasks.data.images.arrays.Arrays",
        "tasks.data.sequences.mnist1d.Mnist1d",
        "tasks.data.text.questions.Questions",
        "tasks.data.sequences.recall.Recall",
        "tasks.data.text.text.Topics",
        "tasks.data.text.documents.Documents",
        "tasks.data.tokens.folder.TokenFolder",
        "tasks.data.text.translation.Phrases",
        "tasks.data.text.translation.Pairs",
        "tasks.data.text.labelled.Labelled",
        "tasks.data.text.names.Names",
        "tasks.data.features.embedded.Embedded",
        "tasks.data.features.table.TableFile",
        "tasks.data.masks.digit_canvas.DigitCanvas",
        "tasks.data.masks.mask_folder.MaskFolder",
        "tasks.data.images.canvas_labels.CanvasLabels",
        "tasks.data.captions.digit_captions.DigitCaptions",
        "tasks.data.captions.caption_table.CaptionTable",
        "tasks.data.published.named.Named",
        "tasks.data.hub.images.HubImages",
        "tasks.data.hub.texts.HubTexts",
        "tasks.data.hub.table.HubTable",
        "tasks.data.shards.images.Shards",
    ),
    "optimizer": (
        "torch.optim.AdamW",
        "torch.optim.SGD",
        "tasks.optimize.lion.Lion",
        "tasks.optimize.muon.Muon",
    ),
    "schedule": (
        "tasks.optimize.schedule.Cosine",
        "tasks.optimize.schedule.Constant",
        "tasks.optimize.schedule.InverseSquareRoot",
        "tasks.optimize.schedule.OneCycle",
        "tasks.optimize.schedule.StepDecay",
        "tasks.optimize.schedule.WarmupStableDecay",
    ),
    "trainer": ("pytorch_lightning.Trainer",),
    "callbacks": (
        "pytorch_lightning.callbacks.EarlyStopping",
        "pytorch_lightning.callbacks.EMAWeightAveraging",
        "pytorch_lightning.callbacks.LearningRateMonitor",
        "pytorch_lightning.callbacks.ModelCheckpoint",
        "tasks.resume.checkpoint.Checkpoint",
        "tasks.callbacks.gradient_stats.GradientStats",
        "tasks.callbacks.router_stats.RouterStats",
        "tasks.callbacks.progress.Progress",
        "tasks.callbacks.weight_average.WeightAverage",
        "tasks.sweep.pruning.Prune",
    ),
    "logger": (
        "tasks.callbacks.logger.CsvLogger",
        "pytorch_lightning.loggers.MLFlowLogger",
        "pytorch_lightning.loggers.TensorBoardLogger",
        "pytorch_lightning.loggers.WandbLogger",
    ),
}

# Earlier names, which stand in YAML files and in finished runs.
RENAMED = {
    "tasks.answer.Answer": "tasks.learn.answer.Answer",
    "tasks.callbacks.gradient_stats.Nodes": "tasks.callbacks.gradient_stats.GradientStats",
    "tasks.callbacks.logger.Csv": "tasks.callbacks.logger.CsvLogger",
    "tasks.checkpoint.Checkpoint": "tasks.resume.checkpoint.Checkpoint",
    "tasks.classify.Classify": "tasks.learn.classify.Classify",
    "tasks.data.arrays.Arrays": "tasks.data.images.arrays.Arrays",
    "tasks.data.digits.Digits": "tasks.data.images.digits.Digits",
    "tasks.data.documents.Documents": "tasks.data.text.documents.Documents",
    "tasks.data.images.Images": "tasks.data.images.image_folder.Images",
    "tasks.data.labelled.Labelled": "tasks.data.text.labelled.Labelled",
    "tasks.data.mnist1d.Mnist1d": "tasks.data.sequences.mnist1d.Mnist1d",
    "tasks.data.names.Names": "tasks.data.text.names.Names",
    "tasks.data.questions.Questions": "tasks.data.text.questions.Questions",
    "tasks.data.recall.Recall": "tasks.data.sequences.recall.Recall",
    "tasks.data.text.Topics": "tasks.data.text.text.Topics",
    "tasks.data.translation.Pairs": "tasks.data.text.translation.Pairs",
    "tasks.data.translation.Phrases": "tasks.data.text.translation.Phrases",
    "tasks.logger.Csv": "tasks.callbacks.logger.CsvLogger",
    "tasks.learn.contrast.Contrast": "tasks.learn.selfsupervised.contrast.Contrast",
    "tasks.learn.reconstruct.Reconstruct": "tasks.learn.selfsupervised.reconstruct.Reconstruct",
    "tasks.learn.optimizer.Constant": "tasks.optimize.schedule.Constant",
    "tasks.learn.optimizer.Cosine": "tasks.optimize.schedule.Cosine",
    "tasks.learn.optimizer.InverseSquareRoot": "tasks.optimize.schedule.InverseSquareRoot",
    "tasks.nodes.Nodes": "tasks.callbacks.gradient_stats.GradientStats",
    "tasks.optimizer.Constant": "tasks.optimize.schedule.Constant",
    "tasks.optimizer.Cosine": "tasks.optimize.schedule.Cosine",
    "tasks.optimizer.InverseSquareRoot": "tasks.optimize.schedule.InverseSquareRoot",
    "tasks.progress.Progress": "tasks.callbacks.progress.Progress",
    "tasks.prune.Prune": "tasks.sweep.pruning.Prune",
    "tasks.tokens.Language": "tasks.learn.tokens.Language",
    "tasks.tokens.Tokens": "tasks.learn.tokens.Tokens",
    "tasks.translate.Translate": "tasks.learn.translate.Translate",
}


def update_targets(section: Any) -> None:
    """Replace the names of earlier releases by today's, in place, at any depth."""
    if not isinstance(section, dict):
        return
    name = section.get("_target_")
    if isinstance(name, str) and name in RENAMED:
        section["_target_"] = RENAMED[name]
    for value in section.values():
        update_targets(value)
