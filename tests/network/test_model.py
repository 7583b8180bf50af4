import pytest
import torch
import torchvision

from model import FOTSModel
from model_pruned import FOTSModelPruned
from utils.errors import UserError
from utils.network.channels import LAYERS, ORIGINAL_PLAN, check_plan, plan_of, uniform_plan
from utils.network.cost import count_macs, count_parameters


def test_original_size():
    model = FOTSModel()
    assert count_parameters(model) == 36_259_526
    assert sum(count_macs(model, 280, 280).values()) / 1e9 == pytest.approx(7.12, abs=0.005)
    assert not model.pruned


def test_half_width_size():
    model = FOTSModelPruned(uniform_plan(0.5))
    assert count_parameters(model) / 1e6 == pytest.approx(9.09, abs=0.005)
    assert sum(count_macs(model, 280, 280).values()) / 1e9 == pytest.approx(1.92, abs=0.005)
    assert model.pruned


@pytest.mark.parametrize(("height", "width"), [(280, 280), (288, 512), (32, 64)])
def test_maps_are_at_stride_4_and_in_range(small_plan, height, width):
    model = FOTSModelPruned(small_plan).eval()
    confidence, distances, angle = model(torch.randn(2, 3, height, width))
    assert confidence.shape == angle.shape == (2, 1, height // 4, width // 4)
    assert distances.shape == (2, 4, height // 4, width // 4)
    assert distances.min() >= 0
    assert distances.max() <= 640
    assert angle.min() >= 0
    assert angle.max() <= torch.pi / 2


def test_encoder_is_torchvisions_resnet34():
    """The same weights give the same features, but for the max-pooling: 2x2 without padding here."""
    torch.manual_seed(0)
    resnet = torchvision.models.resnet34(weights=None).eval()
    resnet.maxpool = torch.nn.MaxPool2d(2, 2)
    model = FOTSModel().eval()
    model.encoder4.load_state_dict(resnet.layer4.state_dict())
    for ours, theirs in (("encoder1", "layer1"), ("encoder2", "layer2"), ("encoder3", "layer3")):
        getattr(model, ours).load_state_dict(getattr(resnet, theirs).state_dict())
    model.conv1[0].load_state_dict(resnet.conv1.state_dict())
    model.conv1[1].load_state_dict(resnet.bn1.state_dict())
    features = {}
    model.encoder4.register_forward_hook(lambda _m, _i, output: features.update(ours=output))
    resnet.layer4.register_forward_hook(lambda _m, _i, output: features.update(theirs=output))
    images = torch.randn(1, 3, 96, 128)
    with torch.no_grad():
        model(images)
        resnet(images)
    assert torch.equal(features["ours"], features["theirs"])


def test_forward_follows_the_contract():
    """The decoder and heads, written out a second time from DESIGN's words."""
    torch.manual_seed(0)
    model = FOTSModel().eval()
    maps = {}
    for name in ("encoder1", "encoder2", "encoder3", "encoder4"):
        getattr(model, name).register_forward_hook(lambda _m, _i, output, name=name: maps.update({name: output}))
    with torch.no_grad():
        prediction = model(torch.randn(1, 3, 64, 96))
        features = model.center(maps["encoder4"])
        for decoder, encoder in ((4, 4), (3, 3), (2, 2), (1, 1)):
            squeezed = getattr(model, f"decoder{decoder}").squeeze(features)
            size = maps[f"encoder{encoder}"].shape[2:]
            up = torch.nn.functional.interpolate(squeezed, size=size, mode="bilinear", align_corners=True)
            features = torch.cat([maps[f"encoder{encoder}"], up], dim=1)
        features = model.remove_artifacts(features)
        assert torch.equal(prediction.confidence, model.confidence(features))
        assert torch.allclose(prediction.distances, torch.sigmoid(model.distances(features)) * 640)
        assert torch.allclose(prediction.angle, torch.sigmoid(model.angle(features)) * torch.pi / 2)


def test_layers_describe_every_convolution():
    names = {name for name, module in FOTSModel().named_modules() if isinstance(module, torch.nn.Conv2d)}
    assert {layer.conv for layer in LAYERS} == names
    assert plan_of(FOTSModel().state_dict()) == ORIGINAL_PLAN


@pytest.mark.parametrize(
    "change", [{"encoder1": 65}, {"encoder1": 0}, {"encoder9": 3}, {"center.0": 1.5}, {"center.0": None}]
)
def test_plan_of_another_network_is_refused(change):
    plan = {name: width for name, width in (ORIGINAL_PLAN | change).items() if width is not None}
    with pytest.raises(UserError, match=next(iter(change))):
        check_plan(plan)


def test_backbone_weights_from_a_file(tmp_path):
    torch.manual_seed(0)
    resnet = torchvision.models.resnet34(weights=None)
    torch.save(resnet.state_dict(), tmp_path / "resnet34.pt")
    model = FOTSModel(backbone_weights=str(tmp_path / "resnet34.pt"))
    assert torch.equal(model.conv1[0].weight, resnet.conv1.weight)
    assert torch.equal(model.encoder3[5].conv2.weight, resnet.layer3[5].conv2.weight)


def test_backbone_weights_of_another_network_are_refused(tmp_path):
    torch.save(torchvision.models.resnet18(weights=None).state_dict(), tmp_path / "resnet18.pt")
    with pytest.raises(UserError, match=r"resnet18.pt: no ResNet-34 weights"):
        FOTSModel(backbone_weights=str(tmp_path / "resnet18.pt"))


def test_failed_download_says_what_to_do(monkeypatch, tmp_path):
    """A real attempt, at an address that refuses it."""
    weights = torchvision.models.ResNet34_Weights.IMAGENET1K_V1
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(weights.value, "url", "http://127.0.0.1:9/resnet34-b627a593.pth")
    with pytest.raises(UserError, match="--backbone-weights none"):
        FOTSModel(backbone_weights="imagenet")
