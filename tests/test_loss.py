"""The loss against a slow and obvious version, written from DESIGN's words with Python loops."""

import math

import pytest
import torch

from benchmarks.train_step import PlainCriterion
from loss import TERMS, Criterion, Mining, detection_loss, hard_and_random
from utils.maps import Prediction, Target
from utils.network.loss_terms import LossSums, Term


def random_maps(seed: int, images: int = 3, side: int = 14, text: float = 0.2, masked: float = 0.1):
    generator = torch.Generator().manual_seed(seed)

    def uniform(channels, low, high):
        return torch.rand(images, channels, side, side, generator=generator) * (high - low) + low

    score = (uniform(1, 0, 1) < text).float()
    target = Target(score, uniform(4, 1, 80), uniform(1, 0, math.pi / 2), (uniform(1, 0, 1) >= masked).float())
    prediction = Prediction(uniform(1, -4, 4), uniform(4, 1, 80), uniform(1, 0, math.pi / 2))
    return Prediction(*(values.requires_grad_() for values in prediction)), target


def slow_parts(prediction: Prediction, target: Target, image: int):
    """(loss of each positive's class, of each negative's class, of each positive's box) as lists."""
    positives, negatives, boxes = [], [], []
    height, width = target.score_map.shape[2:]
    for y in range(height):
        for x in range(width):
            if target.training_mask[image, 0, y, x] == 0:
                continue
            probability = 1 / (1 + math.exp(-prediction.confidence[image, 0, y, x].item()))
            if target.score_map[image, 0, y, x] == 0:
                negatives.append(-math.log(1 - probability))
                continue
            positives.append(-math.log(probability))
            top, right, bottom, left = prediction.distances[image, :, y, x].tolist()
            true_top, true_right, true_bottom, true_left = target.distances[image, :, y, x].tolist()
            high, wide = min(top, true_top) + min(bottom, true_bottom), min(left, true_left) + min(right, true_right)
            intersection = high * wide
            union = (top + bottom) * (left + right) + (true_top + true_bottom) * (true_left + true_right) - intersection
            difference = prediction.angle[image, 0, y, x].item() - target.angle[image, 0, y, x].item()
            boxes.append(-math.log((intersection + 1) / (union + 1)) + 10 * (1 - math.cos(difference)))
    return positives, negatives, boxes


@pytest.mark.parametrize("seed", range(3))
def test_equal_to_the_slow_version_where_all_are_chosen(seed):
    prediction, target = random_maps(seed)
    chosen, chosen_boxes = [], []
    for image in range(3):
        positives, negatives, boxes = slow_parts(prediction, target, image)
        chosen += positives + negatives
        chosen_boxes += boxes
    expected = sum(chosen) / len(chosen) + sum(chosen_boxes) / len(chosen_boxes)
    assert detection_loss(prediction, target).item() == pytest.approx(expected, rel=1e-5)


def test_equal_to_the_slow_version_with_mining():
    """With no random draws, all positives and the hardest cells are chosen."""
    criterion = Criterion(Mining(hard=20, random=0), Mining(hard=7, random=0))
    prediction, target = random_maps(5)
    chosen, chosen_boxes = [], []
    for image in range(3):
        positives, negatives, boxes = slow_parts(prediction, target, image)
        chosen += positives + sorted(negatives)[-20:]
        chosen_boxes += sorted(boxes)[-7:]
    expected = sum(chosen) / len(chosen) + sum(chosen_boxes) / len(chosen_boxes)
    assert criterion(prediction, target).loss().item() == pytest.approx(expected, rel=1e-5)


def test_choice_of_hard_and_random_cells():
    torch.manual_seed(0)
    loss, eligible = torch.rand(4, 3000), torch.rand(4, 3000) < 0.8
    often = torch.zeros(4, 3000)
    for _ in range(200):
        chosen = hard_and_random(loss, eligible, 512, 512)
        assert (chosen.sum(1) == 1024).all()  # 512 others, none drawn twice, none of the hard ones
        assert not (chosen & ~eligible).any()
        often += chosen
    for row in range(4):
        hard = loss[row].masked_fill(~eligible[row], -1).topk(512).indices
        assert (often[row, hard] == 200).all()
        rest = eligible[row].clone()
        rest[hard] = False
        shares = often[row, rest] / 200
        assert shares.min() > 0.05  # every one of the rest can be drawn
        assert shares.mean() == pytest.approx(512 / int(rest.sum()), abs=1e-6)


@pytest.mark.parametrize("few", [0, 1, 100, 600])
def test_fewer_cells_than_asked_for(few):
    eligible = torch.zeros(1, 900, dtype=torch.bool)
    eligible[0, :few] = True
    assert torch.equal(hard_and_random(torch.rand(1, 900), eligible, 512, 512), eligible)


@pytest.mark.parametrize(
    ("text", "masked"), [(0.0, 0.0), (1.1, 0.0), (0.2, 1.1)], ids=["no positives", "no negatives", "empty mask"]
)
def test_defined_and_differentiable(text, masked):
    prediction, target = random_maps(0, text=text, masked=masked)
    loss = detection_loss(prediction, target)
    loss.backward()
    assert torch.isfinite(loss)
    for values in prediction:
        assert torch.isfinite(values.grad).all()
    if masked > 1:
        assert loss.item() == 0


def test_perfect_prediction_costs_nothing():
    _, target = random_maps(1)
    confidence = torch.where(target.score_map > 0, 50.0, -50.0)
    assert detection_loss(Prediction(confidence, target.distances, target.angle), target).item() == pytest.approx(
        0, abs=1e-5
    )


def test_counts_are_known_from_the_target():
    for seed, text in ((0, 0.2), (1, 0.0), (2, 0.9)):
        prediction, target = random_maps(seed, side=60, text=text)
        sums, counts = Criterion()(prediction, target), Criterion().counts(target)
        assert sums.counts == counts


def test_parts_of_a_batch_add_up_to_its_loss_and_gradient():
    """Unequal parts, as at an epoch's end: 2 images and 1."""
    prediction, target = random_maps(3)
    whole = detection_loss(prediction, target)
    whole.backward()
    expected = [values.grad.clone() for values in prediction]
    criterion = Criterion()
    counts = criterion.counts(target)
    total = 0
    for values in prediction:
        values.grad = None
    for part in (slice(0, 2), slice(2, 3)):
        sums = criterion(Prediction(*(v[part] for v in prediction)), Target(*(v[part] for v in target)))
        share = sums.over(counts)
        share.backward()
        total += share.item()
    assert total == pytest.approx(whole.item(), rel=1e-5)
    for values, gradient in zip(prediction, expected, strict=True):
        assert torch.allclose(values.grad, gradient, atol=1e-7)


def test_everything_stays_on_the_inputs_device():
    """On the meta device nothing has values: any look at one from the host would fail."""
    prediction, target = random_maps(0)
    prediction = Prediction(*(values.detach().to("meta").requires_grad_() for values in prediction))
    loss = detection_loss(prediction, target.to("meta"))
    loss.backward()
    assert loss.device.type == "meta"


def test_names_and_weights_follow_from_the_terms():
    criterion = Criterion()
    assert criterion.names == ("classification", "iou", "angle")
    weights = {term.name: term.weight for term in criterion.terms}
    assert weights == {"classification": 1, "iou": 1, "angle": 10}
    with torch.no_grad():
        sums = criterion(*random_maps(4))
    assert criterion.of(sums.tolist()).tolist() == sums.tolist()
    parts = sums.parts()
    assert list(parts) == ["loss", *criterion.names]
    assert sum(weights[name] * parts[name] for name in criterion.names) == pytest.approx(parts["loss"])
    assert criterion.zeros().parts() == dict.fromkeys(parts, 0)


def test_the_weight_of_the_classification_term():
    prediction, target = random_maps(1)
    every = Mining(9999, 0)
    parts = Criterion(every, every)(prediction, target).parts()
    weighted = Criterion(every, every, classification_weight=4)(prediction, target).parts()
    assert weighted["loss"] == pytest.approx(parts["loss"] + 3 * parts["classification"])
    assert {**weighted, "loss": 0} == {**parts, "loss": 0}  # the terms are shown without weights


def test_a_term_is_added_by_its_name():
    """A subclass with one more term, on a count of its own; sums, counts and means follow."""

    class WithDistances(Criterion):
        terms = (*TERMS, Term("distances", "images", 0.5))

        def __call__(self, prediction, target):
            sums = super().__call__(prediction, target)
            distances = (prediction.distances - target.distances).abs().mean((1, 2, 3)).sum()
            more = {"distances": distances}, self.counts(target)
            return LossSums(self.terms, sums.sums | more[0], more[1])

        def counts(self, target):
            return super().counts(target) | {"images": torch.tensor(len(target.score_map))}

    criterion, (prediction, target) = WithDistances(Mining(999, 0), Mining(999, 0)), random_maps(2)
    plain = Criterion(Mining(999, 0), Mining(999, 0))(prediction, target).loss()
    expected = plain + 0.5 * (prediction.distances - target.distances).abs().mean()
    total = criterion.zeros() + criterion(prediction, target)
    assert total.loss().item() == pytest.approx(expected.item(), rel=1e-6)
    assert criterion.zeros().parts().keys() == {"loss", "classification", "iou", "angle", "distances"}


def test_the_benchmarks_plain_loss_is_the_same_loss():
    """Where all cells are chosen, so that no random draw differs."""
    prediction, target = random_maps(6)
    assert PlainCriterion()(prediction, target).loss().item() == pytest.approx(
        detection_loss(prediction, target).item()
    )
