"""Mixup, CutMix, random erasing and RandAugment: labels by hand, formulas, resumed runs."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn

from blocks.graph import ConfigError, compose
from tasks.config import instantiate
from tasks.data.images.augment import cut_box, erase
from tasks.data.images.mix import Regularization
from tasks.data.images.rand_augment import CHANGES, rand_augment
from tasks.data.sampler import generator
from tasks.learn.classify import Classify
from tasks.resume import adopt, checkpoint
from tasks.run import run_folder, train


def batch_of(count=11, height=7, width=13):
    """Return images each of which is filled with its label."""
    label = torch.arange(count)
    image = label.float()[:, None, None, None].expand(-1, 2, height, width).clone()
    return {"image": image, "label": label, "index": torch.arange(count)}


@pytest.mark.parametrize("options", [{"mixup": 0.8}, {"cutmix": 1.0}, {"mixup": 0.5, "cutmix": 1}])
def test_labels_are_mixed_as_the_pixels_are(options):
    shares = set()
    for seed in range(30):
        mixed = Regularization(**options).mix(batch_of(), generator(seed))
        share = mixed["label_share"]
        assert (share == share[0]).all()
        assert 0.5 <= share[0] <= 1
        expected = share * mixed["label"] + (1 - share) * mixed["label_mixed"]
        torch.testing.assert_close(mixed["image"].mean((1, 2, 3)), expected)
        assert mixed["index"].equal(torch.arange(11))
        shares.add(float(share[0]))
    assert len(shares) > 12  # each batch has a share of its own; boxes of 7 x 13 have few areas


def test_with_both_a_batch_has_one_of_them():
    kinds = []
    for seed in range(40):
        mixed = Regularization(mixup=1.0, cutmix=1.0).mix(batch_of(), generator(seed))["image"]
        flat = (mixed == mixed[:, :1, :1, :1]).all()
        kinds.append(bool(flat))
    assert 10 < sum(kinds) < 30


@pytest.mark.parametrize(
    ("center", "rows", "columns", "share"),
    [
        # sides sqrt(1 - 0.75) of 10 and 20: 5 and 10, of which half is 2 and 5
        ((0.5, 0.5), (3, 7), (5, 15), 1 - 40 / 200),
        ((0.0, 0.99), (0, 2), (14, 20), 1 - 12 / 200),  # cut at the border
    ],
)
def test_a_box_is_cut_as_by_hand(center, rows, columns, share):
    box, left = cut_box(10, 20, 0.75, center)
    assert [(side.start, side.stop) for side in box] == [rows, columns]
    assert left == pytest.approx(share)


def classify(**options):
    return Classify(
        nn.Linear(2, 5),
        optimizer=torch.optim.SGD,
        facts={"classes": 5},
        label_smoothing=0.1,
        **options,
    )


def mixed_labels():
    """Return a batch of mixed labels, and the same as probabilities."""
    first, second = torch.tensor([0, 3, 3]), torch.tensor([2, 1, 3])
    soft = 0.7 * F.one_hot(first, 5) + 0.3 * F.one_hot(second, 5)
    return {"label": first, "label_mixed": second, "label_share": torch.full((3,), 0.7)}, soft


def test_the_loss_of_mixed_labels_is_that_of_their_probabilities():
    batch, soft = mixed_labels()
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(logits, soft, label_smoothing=0.1)
    torch.testing.assert_close(classify().mixed_loss(logits, batch), expected, rtol=0, atol=1e-6)


def test_the_gradient_of_a_squared_error_is_that_of_the_probabilities():
    batch, soft = mixed_labels()
    logits = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    classify(loss="squared_error").mixed_loss(logits, batch).backward()
    again = logits.detach().clone().requires_grad_()
    target = 0.9 * soft + 0.1 / 5
    (again.softmax(1) - target).square().sum(1).mean().backward()
    torch.testing.assert_close(logits.grad, again.grad, rtol=0, atol=1e-6)


def test_the_accuracy_of_a_training_counts_the_larger_label():
    task, (batch, _) = classify(), mixed_labels()
    logits = 9.0 * F.one_hot(batch["label"], 5)
    task._update_metrics("train", logits, batch["label"], torch.tensor(0.0))
    assert task.part_metrics("train")["accuracy"].compute() == 1


def test_an_erased_box_has_noise_and_the_rest_stays():
    image, areas = torch.zeros(3, 41, 37), []
    for seed in range(60):
        changed = erase(image, generator(seed), 1.0) != 0
        rows, columns = changed.any(0).any(1).nonzero(), changed.any(0).any(0).nonzero()
        high, wide = (int(each.max() - each.min()) + 1 for each in (rows, columns))
        assert changed.sum() == 3 * high * wide  # one box, in all channels
        areas.append(high * wide / (41 * 37))
    assert 0.015 < min(areas) < max(areas) < 0.345
    assert 0.12 < sum(areas) / len(areas) < 0.24  # the mean of 2 and 33 % is 17.5 %
    count = sum(bool(erase(image, generator(seed), 0.3).any()) for seed in range(400))
    assert 90 < count < 150


# RandAugment --------------------------------------------------------------------------------------


def ramp(mode="L"):
    """Return an image of 16 x 16 whose grey is 16 * column + row."""
    grey = (16 * np.arange(16)[None, :] + np.arange(16)[:, None]).astype(np.uint8)
    return Image.fromarray(grey).convert(mode)


def pixels(image):
    return np.asarray(image).astype(int)


def test_no_strength_is_no_change():
    for name, change in CHANGES.items():
        if name not in ("auto_contrast", "equalize"):
            assert np.array_equal(pixels(change(ramp("RGB"), 0.0, 1.0)), pixels(ramp("RGB"))), name


def test_changes_are_those_of_the_paper_by_hand():
    before = pixels(ramp())
    right = pixels(CHANGES["translate_x"](ramp(), 1.0, -1.0))  # round(150 / 331 * 16) = 7
    assert np.array_equal(right[:, 7:], before[:, :-7])
    assert (right[:, :7] == 128).all()
    assert np.array_equal(
        pixels(CHANGES["solarize"](ramp(), 0.5, 1.0)), np.where(before >= 128, 255 - before, before)
    )
    assert np.array_equal(pixels(CHANGES["posterize"](ramp(), 1.0, 1.0)), before & 0b11110000)
    bright = pixels(CHANGES["brightness"](ramp(), 1 / 3, 1.0))  # times 1.3
    assert np.abs(bright - (1.3 * before).clip(0, 255)).max() <= 1
    mean = round(before.mean())
    flat = pixels(CHANGES["contrast"](ramp(), 1 / 3, -1.0))  # 0.7 of the difference from the mean
    assert np.abs(flat - (mean + 0.7 * (before - mean))).max() <= 1
    sheared = pixels(CHANGES["shear_x"](ramp(), 1.0, 1.0))
    for row in range(16):  # 0.3 columns a row; a pixel is read at its middle
        column = int(4.5 + 0.3 * (row + 0.5))
        assert sheared[row, 4] == (before[row, column] if column < 16 else 128)
    turned = pixels(ramp().rotate(30, fillcolor=128))
    assert np.array_equal(pixels(CHANGES["rotate"](ramp(), 1.0, 1.0)), turned)


def test_the_draws_depend_on_the_source_alone_and_reach_every_change():
    first = [pixels(rand_augment(ramp(), generator(n), changes=2, magnitude=9)) for n in range(20)]
    again = [pixels(rand_augment(ramp(), generator(n), changes=2, magnitude=9)) for n in range(20)]
    assert all(map(np.array_equal, first, again))
    assert len({each.tobytes() for each in first}) > 12
    drawn = {int(torch.randint(len(CHANGES), (), generator=generator(n))) for n in range(200)}
    assert len(drawn) == len(CHANGES) == 14


# Data modules and runs ----------------------------------------------------------------------------

ALL = ["mixup=0.2", "cutmix=1.0", "erase=0.5", "randaugment=2"]
SMALL = [
    "model.params.depth=1",
    "model.params.dim=16",
    "callbacks.progress.style=none",
    "callbacks.nodes=null",
    "trainer.max_epochs=2",
    "trainer.limit_train_batches=4",
    "trainer.limit_val_batches=1",
    "trainer.limit_test_batches=1",
    "trainer.threads=1",
    "callbacks.checkpoint.every_steps=1",
    "data.batch_size=16",
    *(f"data.{word}" for word in ALL),
]


def learn(place, *words):
    words = [*SMALL, *words]
    composed = compose(words)
    known = run_folder.describe_start(composed.config, adopt.run_overrides(words), place)
    resumed = (place / run_folder.RECORD).is_file()
    train.train(composed, place, run_folder.Record(place, resumed=resumed, **known))


def folder_of_images(place):
    for name, grey in (("dark", 40), ("light", 200)):
        (place / name).mkdir(parents=True)
        for number in range(9):
            noise = np.random.default_rng(number + grey).integers(-30, 30, (12, 15, 3))
            Image.fromarray((grey + noise).astype(np.uint8)).save(place / name / f"{number}.png")
    return place


def image_data(place, *words):
    words = ["data=images", f"data.path={place}", "data.size=10", "data.batch_size=4", *words]
    data = instantiate.make(compose(words), ("data",), without=("facts",))
    data.read()
    return data


def batches_of(data, first=0):
    loader = data.train_dataloader()
    loader.sampler.set_epoch(3)
    loader.load_state_dict({"epoch": 3, "batch": first})
    return list(loader)


def test_batches_of_a_folder_are_the_same_with_workers_and_after_a_stop(tmp_path):
    place = folder_of_images(tmp_path / "images")
    words = [f"data.{word}" for word in ALL]
    alone = batches_of(image_data(place, *words, "data.workers=0"))
    shared = batches_of(image_data(place, *words, "data.workers=2"))
    later = batches_of(image_data(place, *words, "data.workers=0"), first=1)
    assert {"label_mixed", "label_share"} <= set(alone[0])
    for name in alone[0]:
        assert all(a[name].equal(b[name]) for a, b in zip(alone, shared, strict=True)), name
        assert all(a[name].equal(b[name]) for a, b in zip(alone[1:], later, strict=True)), name
    plain = batches_of(image_data(place, "data.workers=0"))
    assert not plain[0]["image"].equal(alone[0]["image"])
    assert "label_mixed" not in plain[0]
    evaluated = next(iter(image_data(place, *words, "data.workers=0").val_dataloader()))
    assert "label_mixed" not in evaluated


def test_a_run_that_was_stopped_goes_on_to_the_bit(tmp_path, monkeypatch):
    learn(tmp_path / "whole")
    save = checkpoint.Checkpoint._save

    def die(self, trainer, module, point, **options):
        save(self, trainer, module, point, **options)
        if trainer.global_step == 6:
            raise ZeroDivisionError

    monkeypatch.setattr(checkpoint.Checkpoint, "_save", die)
    with pytest.raises(ZeroDivisionError):
        learn(tmp_path / "cut")
    monkeypatch.undo()
    learn(tmp_path / "cut", f"resume='{tmp_path / 'cut'}'")
    last = SimpleNamespace()
    for name in ("whole", "cut"):
        path = tmp_path / name / "checkpoints" / "last.ckpt"
        setattr(last, name, torch.load(path, weights_only=True)["state_dict"])
    assert all(value.equal(last.cut[name]) for name, value in last.whole.items())


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["data.mixup=-1"], "  mixup must not be negative\n  got       mixup=-1\n"),
        (["data.erase=1.5"], "  erase must be from 0 to 1\n  got       erase=1.5\n"),
        (["data.magnitude=31"], "  magnitude must be from 0 to 30\n  got       magnitude=31\n"),
        (["data.randaugment=two"], "  randaugment must be a whole number\n"),
        (
            ["task=reconstruct", "model=mae", "model.params.depth=2", "data.mixup=0.2"],
            "  Reconstruct does not learn from mixed labels\n  got       mixup=0.2\n",
        ),
    ],
)
def test_a_wrong_value_is_told(tmp_path, words, text):
    with pytest.raises(ConfigError) as error:
        learn(tmp_path, *words)
    assert text in str(error.value)


def test_images_of_other_channels_are_told(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.zeros((30, 2, 8, 8)), y=np.arange(30) % 3)
    with pytest.raises(ConfigError) as error:
        learn(tmp_path, "data=arrays", f"data.path={tmp_path / 'a.npz'}")
    assert "RandAugment changes grey and RGB images\n  got       2 channels\n" in str(error.value)
