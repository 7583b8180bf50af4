"""The average of two checkpoints' weights."""

import torch

from model_pruned import FOTSModelPruned
from utils.checkpoint import load_model, save_checkpoint


def test_weights_and_statistics_are_averaged(small_checkpoint, tmp_path, run_script):
    before, _ = load_model(small_checkpoint)
    after, _ = load_model(small_checkpoint)
    for values in after.state_dict().values():
        if values.is_floating_point():
            values += 1
    save_checkpoint(tmp_path / "after.pt", after)
    for share in (0, 0.25, 1):
        line = ("-m", "tools.average", small_checkpoint, tmp_path / "after.pt", tmp_path / "new" / "both.pt")
        assert f"{share} of" in run_script(*line, "--share", share).stdout
        both, _ = load_model(tmp_path / "new" / "both.pt")
        assert both.origin.within(before.origin) is not None
        for name, values in both.state_dict().items():
            expected = before.state_dict()[name] + (share if values.is_floating_point() else 0)
            assert torch.allclose(values, expected, atol=1e-6), name


def test_another_network_is_refused(small_checkpoint, tmp_path, refuses):
    """Also one of the same widths: its channels are others."""
    small, _ = load_model(small_checkpoint)
    save_checkpoint(tmp_path / "other.pt", FOTSModelPruned(small.plan))
    line = ("-m", "tools.average", small_checkpoint, tmp_path / "other.pt", tmp_path / "both.pt")
    refuses(*line, parts=["other.pt: two different networks", "before and after a fine-tuning"])
    refuses(*line[:4], small_checkpoint, parts=["it is an input"])
    assert not (tmp_path / "both.pt").exists()
