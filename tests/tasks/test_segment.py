"""Segmentation: losses, metrics, the contract, and a run from start to end."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import f1_score, jaccard_score

from blocks.graph import ConfigError, compose, plan
from tasks.data.masks.digit_canvas import DigitCanvas, overlaps
from tasks.data.readers.mask import class_colours
from tasks.errors import ArgumentError
from tasks.learn.losses.pixels import IGNORED, pixel_cross_entropy, soft_dice
from tasks.learn.metrics.pixels import PixelLoss
from tasks.learn.segment import Segment, resize_logits
from tasks.optimize.schedule import Constant
from tasks.report.classes import mask_table
from tasks.run import run_folder
from tasks.run.contract import check_contract
from tasks.run.evaluate import evaluate_run
from tasks.run.load_run import open_run
from tasks.run.train import train

CLASSES, HEIGHT, WIDTH = 5, 7, 11
FACTS = {
    "image": {"channels": 3, "height": HEIGHT, "width": WIDTH},
    "label": {"height": HEIGHT, "width": WIDTH, "dtype": "int"},
    "classes": CLASSES,
}


class Fixed(torch.nn.Module):
    """Gives the logits that it was made with, whatever comes."""

    input_names = ("image",)

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(logits)

    def forward(self, image):
        return {"logits": self.logits}


def draw(batch=3, ignored=0.2, classes=CLASSES, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, CLASSES, HEIGHT, WIDTH, generator=generator)
    label = torch.randint(classes, (batch, HEIGHT, WIDTH), generator=generator)
    label[torch.rand(label.shape, generator=generator) < ignored] = IGNORED
    return logits, label


def make_task(logits, **options):
    return Segment(
        Fixed(logits), optimizer=torch.optim.SGD, schedule=Constant(), facts=FACTS, **options
    )


def start(folder, *overrides):
    composed = compose([*overrides, f"runs={folder}"])
    known = run_folder.describe_start(composed.config, list(overrides), folder)
    return train(composed, folder, run_folder.Record(folder, **known))


# Losses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 0.0, 2.0, 3.0])])
def test_the_cross_entropy_is_that_of_torch(weight):
    logits, label = draw()
    expected = F.cross_entropy(logits, label, weight, ignore_index=IGNORED)
    torch.testing.assert_close(pixel_cross_entropy(logits, label, weight), expected)


def test_the_dice_loss_is_the_formula_over_the_classes_of_the_batch():
    logits, label = draw(classes=CLASSES - 1)  # nobody is of the last class
    share = logits.double().softmax(1).numpy()
    scores = []
    for number in range(CLASSES - 1):
        true = (label == number).numpy()
        judged = (label != IGNORED).numpy()
        p = share[:, number][judged]
        scores.append(2 * p[true[judged]].sum() / (p.sum() + true.sum()))
    assert float(soft_dice(logits, label)) == pytest.approx(1 - np.mean(scores), abs=1e-6)


def test_a_right_and_sure_mask_has_no_loss_and_gradients_are_those_of_the_formula():
    _, label = draw()
    sure = 100.0 * F.one_hot(label.clamp_min(0), CLASSES).movedim(-1, 1).float()
    assert float(soft_dice(sure, label)) == pytest.approx(0, abs=1e-6)
    assert float(pixel_cross_entropy(sure, label)) == pytest.approx(0, abs=1e-6)
    logits, label = draw(batch=1)
    logits = logits.double().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: pixel_cross_entropy(x, label), logits)


def test_ignored_pixels_change_nothing_and_get_no_gradient():
    logits, label = draw()
    other = torch.where((label == IGNORED)[:, None], torch.randn(logits.shape), logits)
    logits.requires_grad_()
    for loss in (pixel_cross_entropy, soft_dice):
        torch.testing.assert_close(loss(logits, label), loss(other, label))
        gradient = torch.autograd.grad(loss(logits, label), logits)[0]
        assert gradient.movedim(1, -1)[label == IGNORED].abs().max() == 0
        assert gradient.movedim(1, -1)[label != IGNORED].abs().max() > 0
        nothing = torch.full_like(label, IGNORED)
        assert loss(logits, nothing).item() == 0


def test_the_loss_is_the_weighted_sum_of_both():
    logits, label = draw()
    task = make_task(logits, cross_entropy=0.7, dice=0.2, class_weights=[1, 2, 3, 4, 5])
    entropy = F.cross_entropy(logits, label, torch.arange(1.0, 6), ignore_index=IGNORED)
    expected = 0.7 * entropy + 0.2 * soft_dice(logits, label)
    batch = {"image": torch.zeros(3, 3, HEIGHT, WIDTH), "label": label}
    torch.testing.assert_close(task.compute_loss(batch), expected)


def test_coarse_logits_are_interpolated_bilinearly_to_the_masks():
    logits = torch.randn(2, CLASSES, 3, 4)
    _, label = draw(batch=2)
    size = (HEIGHT, WIDTH)
    fine = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
    torch.testing.assert_close(resize_logits(logits, size), fine)
    task = make_task(logits, dice=0)
    batch = {"image": torch.zeros(2, 3, HEIGHT, WIDTH), "label": label}
    expected = F.cross_entropy(fine, label, ignore_index=IGNORED)
    torch.testing.assert_close(task.compute_loss(batch), expected)


def test_balanced_weights_are_those_of_scikit_learn():
    from sklearn.utils.class_weight import compute_class_weight

    pixels = torch.tensor([5, 1, 3, 2, 9])
    task = make_task(draw()[0], class_weights="balanced")
    data = SimpleNamespace(class_pixels=lambda: pixels)
    task._trainer = SimpleNamespace(datamodule=data)
    task.setup("fit")
    every = np.repeat(np.arange(CLASSES), pixels.numpy())
    expected = compute_class_weight("balanced", classes=np.arange(CLASSES), y=every)
    np.testing.assert_allclose(task.weight.numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"cross_entropy": 0, "dice": 0}, "there is no loss"),
        ({"dice": -1}, "dice must not be negative"),
        ({"class_weights": [1, 2]}, "one number for each class; got class_weights=\\[1, 2\\]"),
        ({"class_weights": "even"}, "one number for each class; got class_weights=even"),
        ({"class_weights": [1, 2, 3, 4, -5]}, "a class weight is not negative"),
    ],
)
def test_weights_that_make_no_loss_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        make_task(draw()[0], **options)


# Metrics ------------------------------------------------------------------------------------------


def test_metrics_and_the_table_are_those_of_scikit_learn_over_all_pixels():
    task = make_task(torch.zeros(1, CLASSES, HEIGHT, WIDTH))
    truth, guess = [], []
    for seed in range(3):
        logits, label = draw(classes=CLASSES - 2, seed=seed)  # no pixel is of the last two
        logits[:, CLASSES - 1] = -9  # and none is predicted as the last one
        task._count("val", logits, label)
        task.confusion.update(logits.argmax(1), label)
        judged = label != IGNORED
        truth.append(label[judged])
        guess.append(logits.argmax(1)[judged])
    truth, guess = torch.cat(truth).numpy(), torch.cat(guess).numpy()
    found = task.part_metrics("val")
    found = {name: float(found[name].compute()) for name in ("miou", "dice", "accuracy")}
    present = sorted({*truth, *guess})
    assert len(present) == CLASSES - 1
    iou = jaccard_score(truth, guess, labels=present, average=None)
    dice = f1_score(truth, guess, labels=present, average=None)
    assert found["miou"] == pytest.approx(iou.mean(), abs=1e-6)
    assert found["dice"] == pytest.approx(dice.mean(), abs=1e-6)
    assert found["accuracy"] == pytest.approx((truth == guess).mean(), abs=1e-6)
    rows = mask_table(task.confusion.compute().tolist(), list("abcde"))
    for number in present:
        name, pixels, *shares = rows[number]
        assert (name, pixels) == ("abcde"[number], f"{(truth == number).sum():,}")
        assert shares[:2] == [f"{iou[number]:.3f}", f"{dice[number]:.3f}"]
    assert rows[-1] == ["e", "0", "-", "-", "-", "-"]


@pytest.mark.parametrize("weight", [None, torch.tensor([0.5, 1.0, 0.0, 2.0, 3.0])])
def test_the_loss_of_a_part_is_that_of_one_batch_however_it_is_divided(weight):
    logits, label = draw(batch=6)
    label[:2] = label[:2].clamp_max(1)  # the parts differ in their classes
    label[2] = IGNORED
    expected = 0.7 * pixel_cross_entropy(logits, label, weight) + 0.2 * soft_dice(logits, label)
    for sizes in ([6], [2, 1, 3], [1] * 6):
        first, second = (PixelLoss(CLASSES, cross_entropy=0.7, dice=0.2) for _ in range(2))
        pairs = zip(logits.split(sizes), label.split(sizes), strict=True)
        for number, (some, masks) in enumerate(pairs):
            (first, second)[number % 2].update(some, masks, weight)
        first.merge_state(second)  # as the sum over two processes
        torch.testing.assert_close(first.compute(), expected)


# The contract -------------------------------------------------------------------------------------


def judge(overrides, facts=FACTS):
    composed = compose(["task=segment", *overrides])
    check_contract(composed, plan(composed, facts), facts)


def refusal(overrides, facts=FACTS):
    with pytest.raises(ConfigError) as error:
        judge(overrides, facts)
    return str(error.value).splitlines()[1:]


SIDE = {**FACTS, "image": {"channels": 3, "height": 16, "width": 16}}
SIDE["label"] = {"height": 16, "width": 16, "dtype": "int"}


def test_logits_of_the_size_of_the_masks_or_coarser_fit():
    judge(["model=unet"], SIDE)
    coarse = "+model.graph.coarse={block: AvgPool2d, kernel: 2, after: head}"
    judge(["model=unet", coarse, "model.outputs.logits=coarse"], SIDE)


def test_classes_of_an_image_are_refused_with_a_model_that_fits():
    assert refusal(["model=cnn"], SIDE) == [
        "  Segment needs the output logits (batch, classes, height, width)",
        "  got       logits (batch, 5) of head (Linear)",
        "  from      the command line: task=segment model=cnn",
        "  fits      (batch, 5, 16 or less, 16 or less)",
        "  fix       a model for masks, e.g. model=unet, or another model or task",
    ]


def test_another_number_of_classes_and_a_larger_grid_are_refused():
    found = refusal(["model=unet", "model.graph.head.features=6"], SIDE)
    assert found[1] == "  got       logits (batch, 6, 16, 16) of head (Conv2d)"
    assert found[4] == "  fix       a head of data.classes features, or another model or task"
    grown = "+model.graph.grow={block: Upsample, scale: 2, after: head}"
    found = refusal(["model=unet", grown, "model.outputs.logits=grow"], SIDE)
    assert found[1] == "  got       logits (batch, 5, 32, 32) of grow (Upsample)"
    assert found[3] == "  fits      (batch, 5, 16 or less, 16 or less)"


def test_data_without_masks_and_a_task_without_pixels_are_refused(tmp_path):
    found = refusal(["model=unet"], {"image": SIDE["image"], "classes": 5})
    assert found[0] == "  Segment needs data.label, which these data do not have"
    with pytest.raises(ConfigError, match="these data have a class for each pixel"):
        start(tmp_path, "data=digit_canvas", "data.train=8")


# Digits on a canvas -------------------------------------------------------------------------------


def test_canvases_depend_on_their_seed_only_and_show_the_digits_of_their_masks():
    few = {"train": 20, "val": 7, "test": 11}
    data, same, other = DigitCanvas(**few), DigitCanvas(seed=5, **few), DigitCanvas(**few)
    other.split_seed = 1
    for each in (data, same, other):
        each.read()
    part = data.parts["train"]
    assert torch.equal(part["image"], same.parts["train"]["image"])
    assert torch.equal(part["label"], same.parts["train"]["label"])
    assert not torch.equal(part["label"], other.parts["train"]["label"])
    assert data.sizes() == few
    assert set(part["label"].unique().tolist()) == set(range(11))
    ink, paper = part["image"][:, 0][part["label"] > 0], part["image"][:, 0][part["label"] == 0]
    assert ink.mean() > 0.4 > 0.1 > paper.mean()
    assert data.class_pixels().sum() == 20 * 32 * 32
    assert data.facts() == {
        "image": {"channels": 1, "height": 32, "width": 32},
        "label": {"height": 32, "width": 32, "dtype": "int"},
        "classes": 11,
    }


def test_squares_overlap_where_they_share_a_pixel():
    for down in range(-6, 7):
        for across in range(-6, 7):
            cells = np.zeros((20, 20), dtype=int)
            cells[8:12, 8:12] += 1
            cells[8 + down : 11 + down, 8 + across : 11 + across] += 1
            shared = overlaps((8 + down, 8 + across, 3), (8, 8, 4))
            assert shared == (cells.max() == 2), (down, across)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"largest": 33}, "a digit must fit on the canvas"),
        ({"smallest": 15}, "a digit must fit on the canvas"),
        ({"digits": 0}, "digits must be positive"),
    ],
)
def test_a_canvas_that_cannot_be_drawn_is_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        DigitCanvas(**options)


def test_the_colours_are_those_of_pascal_voc():
    found = class_colours(256).tolist()
    assert found[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert found[15] == [192, 128, 128]
    assert found[255] == [224, 224, 192]
    assert len(set(map(tuple, found))) == 256


# A run --------------------------------------------------------------------------------------------

SMALL = [
    "experiment=segment",
    "model=unet",
    "model.params.width=4",
    "data.train=48",
    "data.val=9",
    "data.test=13",
    "data.batch_size=16",
    "trainer.max_epochs=1",
    "callbacks.progress.style=none",
]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    start(folder, *SMALL)
    return folder


def test_a_run_is_tested_reported_and_evaluated_again(run):
    record = run_folder.read_record(run)
    scores = record["test"]
    assert set(scores) == {"test/accuracy", "test/dice", "test/loss", "test/miou"}
    again = evaluate_run(open_run(run), {})
    assert again == pytest.approx(scores, abs=1e-6)
    with (run / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    right = sum(int(row["right"]) for row in rows)
    assert [row["index"] for row in rows] == list(map(str, range(13)))
    assert right / (13 * 32 * 32) == pytest.approx(scores["test/accuracy"], abs=1e-6)
    report = (run / "report.html").read_text(encoding="utf-8")
    for text in ("First test images", "Fewest pixels right", "no colour: background", "test miou"):
        assert text in report
    assert report.count("of the pixels right") >= 8
