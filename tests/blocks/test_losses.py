"""Losses against torch, and against their formulas step by step in float64."""

import math

import pytest
import torch
import torch.nn.functional as F

from blocks.combine import GaussianSample
from blocks.errors import BlockError
from blocks.losses.classes import (
    BinaryCrossEntropy,
    CrossEntropy,
    DiceLoss,
    DistillationLoss,
    FocalLoss,
)
from blocks.losses.numbers import CosineDistance, GaussianKL, HuberLoss, QuantileLoss

B, T, C, H, W = 5, 7, 3, 11, 13


def drawn(*shape):
    torch.manual_seed(0)
    return torch.randn(*shape, dtype=torch.float64)


def labels(*shape):
    torch.manual_seed(1)
    return torch.randint(C, shape)


def close(found, wanted):
    torch.testing.assert_close(
        found, torch.as_tensor(wanted, dtype=torch.float64), rtol=0, atol=1e-12
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_cross_entropy_takes_classes_behind_or_in_front_and_skips_what_has_no_label(smoothing):
    loss = CrossEntropy(label_smoothing=smoothing)
    label = labels(B, H, W)
    label[0, 0] = -100
    logits = drawn(B, C, H, W)
    wanted = F.cross_entropy(logits, label, label_smoothing=smoothing)
    close(loss(logits, label), wanted)
    close(loss(logits.movedim(1, -1), label), wanted)
    close(loss(logits, torch.full_like(label, -100)), 0.0)


def test_focal_loss_is_cross_entropy_for_gamma_0_and_the_formula_for_2():
    logits, label = drawn(B, T, C), labels(B, T)
    close(FocalLoss(gamma=0.0)(logits, label), F.cross_entropy(logits.movedim(-1, 1), label))
    total = 0.0
    for row, index in zip(logits.flatten(0, 1).tolist(), label.flatten().tolist(), strict=True):
        share = math.exp(row[index]) / sum(map(math.exp, row))
        total -= (1 - share) ** 2 * math.log(share)
    close(FocalLoss(gamma=2.0)(logits, label), total / (B * T))


def test_dice_counts_the_classes_of_the_batch():
    logits, label = drawn(B, C, H, W), labels(B, H, W).clamp(max=1)  # no pixel of class 2
    shares = logits.softmax(1)
    scores = []
    for index in (0, 1):
        truth = (label == index).double()
        overlap = (shares[:, index] * truth).sum()
        scores.append((2 * overlap + 1) / (shares[:, index].sum() + truth.sum() + 1))
    close(DiceLoss()(logits, label), 1 - sum(scores) / 2)


def test_distillation_is_the_divergence_of_softened_classes_and_0_for_equal_logits():
    student, teacher = drawn(B, C), drawn(B, C).flip(0)
    wanted, given = (teacher / 3).softmax(1), (student / 3).softmax(1)
    divergence = (wanted * (wanted.log() - given.log())).sum(1).mean()
    close(DistillationLoss(temperature=3.0)(student, teacher), 9 * divergence)
    close(DistillationLoss()(student, student), 0.0)


def test_distillation_at_a_high_temperature_has_the_gradient_of_squared_error():
    """Hinton et al. 2015, section 2.1: of logits whose mean is zero, divided by the classes."""
    student, teacher = drawn(B, C).requires_grad_(), drawn(B, C).flip(0)
    with torch.no_grad():
        student -= student.mean(1, keepdim=True)
        teacher -= teacher.mean(1, keepdim=True)
    (gradient,) = torch.autograd.grad(DistillationLoss(temperature=1e4)(student, teacher), student)
    torch.testing.assert_close(gradient, (student - teacher).detach() / C / B, rtol=1e-3, atol=1e-6)


def test_a_gaussian_is_compared_with_the_standard_one_as_torch_does():
    mean, log_variance = drawn(B, T), drawn(B, T).flip(0)
    normal = torch.distributions.Normal
    found = torch.distributions.kl_divergence(
        normal(mean, (log_variance / 2).exp()), normal(0.0, 1.0)
    )
    close(GaussianKL()(mean, log_variance), found.sum(1).mean())


def test_a_sample_has_the_mean_and_the_variance_that_it_is_given_and_none_in_evaluation():
    sample = GaussianSample()
    mean = torch.full((100_000, 1), 2.0, dtype=torch.float64)
    torch.manual_seed(0)
    found = sample(mean, torch.full_like(mean, math.log(9.0)))
    assert found.mean().item() == pytest.approx(2.0, abs=0.04)
    assert found.std().item() == pytest.approx(3.0, abs=0.04)
    assert torch.equal(sample.eval()(mean, mean), mean)


def test_numbers_follow_torch_and_the_pinball():
    x, target = drawn(B, T), drawn(B, T).flip(0)
    close(HuberLoss(delta=0.7)(x, target), F.huber_loss(x, target, delta=0.7))
    close(CosineDistance()(x, target), (1 - F.cosine_similarity(x, target)).mean())
    total = 0.0
    for a, b in zip(x.flatten().tolist(), target.flatten().tolist(), strict=True):
        total += 0.9 * (b - a) if b > a else 0.1 * (a - b)
    close(QuantileLoss(quantile=0.9)(x, target), total / (B * T))
    label = target > 0
    close(BinaryCrossEntropy()(x, label), F.binary_cross_entropy_with_logits(x, label.double()))


def test_shapes_that_do_not_fit_are_told():
    with pytest.raises(BlockError) as error:
        CrossEntropy()(drawn(B, T, H), labels(B, C))
    assert str(error.value) == (
        "logits have the axes of the label, and one of the classes; got logits (7, 11), label (3,) "
        "of each sample; fits: logits (batch, classes) with label (batch), logits (batch, tokens, "
        "classes) with label (batch, tokens), logits (batch, classes, height, width) with label "
        "(batch, height, width)"
    )
    with pytest.raises(BlockError, match="x and target have one shape"):
        HuberLoss()(drawn(B, T), drawn(B, 1))
